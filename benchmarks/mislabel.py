"""Which ranking finds wrong labels, what it costs, and what dropping its lowest rows is worth.

    pip install -e ".[benchmarks]"
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.mislabel          (all; or: cases 1 2 mnist)
    python -m benchmarks.mislabel search               (mnist: the share to drop, by CV)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.mislabel detector (the detector alone, again)
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.mislabel whole 0  (CIFAR-10N: all parameters)
    python -m benchmarks.wrong_labels.mislabel_table   (tables, from the JSON)
    python -m benchmarks.mislabel_plot                 (the picture, likewise)

A seed draws the rows, the noise and the start. One training is shared by all; costs are CPU
seconds of one thread beyond it, over its own. Data sets whose file is missing are skipped. Writes
``benchmarks/results/mislabel.json`` after every case and goes on from there: delete it to begin
again.
"""

import sys
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from benchmarks.report import machine, read, write
from benchmarks.wrong_labels.data import DATA, draw, is_there
from benchmarks.wrong_labels.rankings import (
    DETECTOR,
    CleanlabScorer,
    detected,
    timed,
    with_validation,
    without_validation,
)
from sam_attribution import FilteredClassifier, MislabelDetector
from sam_attribution.metrics import detection

SEEDS = (0, 1, 2)
VALIDATIONS = ("clean", "as noisy")
FRACTIONS = [0, 0.1, 0.2, 0.3, 0.4]
WHOLE = ("GIF", "GIF, worst class", "TRAK", "EK-FAC")  # HIF-fast: some 20 trainings
FILTERED = ("cleanlab, self_confidence", "mean loss", "random")


def one_case(data, noise, seed):
    """Figures of all rankings of one draw, and accuracies after filtering by some."""
    case, classifier, seconds = trained(data, noise, seed)
    shared = without_validation(classifier, case, data.influence, seed)
    n_wrong = int(case.wrong.sum())
    found = {
        "noise_rate": float(case.wrong.mean()),
        "seconds_training": seconds,
        "shared": figures(shared, case.wrong, seconds),
        "accuracy": {
            "all rows": float(classifier.score(*case.test)),
            "oracle": accuracy_without(np.flatnonzero(case.wrong), classifier, case),
            **{
                n: accuracy_without(lowest(shared[n][0], n_wrong), classifier, case)
                for n in FILTERED
            },
        },
    }
    for validation in VALIDATIONS:
        rankings = with_validation(classifier, case, validation, data.influence, seed)
        found[validation] = {"methods": figures(rankings, case.wrong, seconds)}
    judge(found, classifier, case, seconds, seed)
    return found


def detector_again(data, noise, seed, found):
    """Put what the detector says now in the place of what it said before."""
    case, classifier, seconds = trained(data, noise, seed)
    judge(found, classifier, case, seconds, seed)
    return found


def trained(data, noise, seed):
    """A draw, the network trained on it and the CPU seconds of that."""
    case, classifier = draw(data, noise, seed), data.classifier(seed)
    return case, classifier, timed(lambda: classifier.fit(case.X, case.y))[1]


def judge(found, classifier, case, seconds, seed):
    """Add the figures of the detector to those found."""
    for validation in VALIDATIONS:
        detector, taken = detected(classifier, case, validation, seed)
        rows = lowest(detector.scores_, int(case.wrong.sum()))
        accuracy = accuracy_without(rows, classifier, case)
        found["accuracy"][f"{DETECTOR}, {validation}"] = accuracy
        ranking = {DETECTOR: (detector.scores_, taken)}
        found[validation]["methods"] |= figures(ranking, case.wrong, seconds)
        found[validation] |= {
            "contamination": detector.contamination_,
            "recall_suspicious": float(detector.suspicious_[case.wrong].mean()),
            "suggestions_right": float((detector.suggested_labels_ == case.truth).mean()),
            "diagnostics": detector.diagnostics_.to_dict("records")[0],
        }


def figures(rankings, wrong, seconds_training):
    """Figures of merit and the price, for each ranking."""
    return {
        name: detection(scores, wrong, inspected=[0.4]).to_dict()
        | {"trainings": seconds / seconds_training}
        for name, (scores, seconds) in rankings.items()
    }


def lowest(scores, n):
    return np.argsort(scores, kind="stable")[:n]


def accuracy_without(rows, classifier, case):
    """Accuracy on clean test rows after training without some rows."""
    keep = np.delete(np.arange(len(case.y)), rows)
    return float(clone(classifier).fit(case.X[keep], case.y[keep]).score(*case.test))


def one_search(data, noise, seed):
    """Test accuracy where the share to drop is chosen by CV on the labels as given."""
    case = draw(data, noise, seed)
    network = data.classifier(seed)
    scorers = {DETECTOR: MislabelDetector(network), "cleanlab": CleanlabScorer(network)}
    found = {}
    for name, scorer in scorers.items():
        filtered = FilteredClassifier(network, scorer=scorer, random_state=seed)
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        search = GridSearchCV(filtered, {"removal_fraction": FRACTIONS}, cv=folds)
        _, seconds = timed(lambda search=search: search.fit(case.X, case.y))
        found[name] = {
            "removal_fraction": search.best_params_["removal_fraction"],
            "cv_accuracy": search.cv_results_["mean_test_score"].tolist(),
            "accuracy": float(search.score(*case.test)),
            "seconds": seconds,
        }
    return found


def all_parameters(data, noise, seed):
    """Influences of a whole network of which the other cases take the last layer."""
    case, classifier, seconds = trained(data, noise, seed)
    whole = {"parameters": "all"}
    rankings = with_validation(classifier, case, "clean", whole, seed, WHOLE)
    return figures(rankings, case.wrong, seconds)


def keys(names, seeds):
    """Each case with its key in the JSON, one seed after the other."""
    for seed in seeds:
        for name in names:
            for noise in DATA[name].noises:
                yield f"{name}, {noise}, seed {seed}", (DATA[name], noise, seed)


def run(part, function, names, seeds, again=False):
    """Fill a part of the JSON, case by case, with what it lacks; `again`: renew what it has."""
    content = read("mislabel", {"machine": machine(SEEDS, ["cleanlab"])})
    found = content.setdefault(part, {})
    for key, case in keys(names, seeds):
        if (key in found) == again:
            found[key] = function(*case, found[key]) if again else function(*case)
            write("mislabel", content)
            print(key, flush=True)


def main(what="cases", *some):
    """Run all cases, the detector on those again, or the searches; of some seeds or data sets."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the SAM Jacobian has eigenvalues near 0")
    seeds = [int(each) for each in some if each.isdigit()] or SEEDS
    chosen = [each for each in some if not each.isdigit()] or list(DATA)
    there = [name for name in chosen if is_there(DATA[name])]
    for name in set(chosen) - set(there):
        print(f"{name} skipped: no {DATA[name].file} in the folder SAM_ATTRIBUTION_DATA.")
    DATA["digits"].classifier(0).fit(*DATA["digits"].load()[:2])  # what torch does once only
    if what == "search":
        run("searches", one_search, ["mnist"], seeds)
    elif what == "whole":
        run("all parameters", all_parameters, ["CIFAR-10N"], seeds)
    elif what == "detector":
        run("cases", detector_again, there, seeds, again=True)
    else:
        run("cases", one_case, there, seeds)


if __name__ == "__main__":
    main(*sys.argv[1:])
