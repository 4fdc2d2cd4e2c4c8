"""What unrolled attribution costs in its forms, as a multiple of training, and how right each is.

    pip install -e ".[benchmarks]"
    python -m benchmarks.unrolled_cost

Prices are CPU seconds of one thread over those of the recorded training; training and sweeps take
turns, the median of the ratios counts. The runs record what ``trajectory="auto"`` keeps, which the
file names; those of "exact, 10 states" repeat the steps between. ``load`` is that of the machine
before and after. Without the check of smoothness, which adds trainings. One label in ten is wrong.
Pearson and slope are with leaving rows out: those of ``benchmarks.agreement``, and 60 on the CNN.
Writes ``benchmarks/results/unrolled_cost.json`` after every network and goes on from there: delete
it to begin again.
"""

import os
import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from torch import nn

from benchmarks.agreement import DIGITS, digits_cnn, network, rows
from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import Unrolled, UnrolledSegments
from sam_attribution.metrics import agreement
from sam_attribution.retraining import LeaveOneOut

SEED, N_REPEATS = 0, 3
EXACT = Unrolled(check=None)
METHODS = {
    "exact": EXACT,
    "fixed": Unrolled(ascent="fixed", check=None),
    "fixed at w": Unrolled(ascent="fixed", at="w", check=None),
    "segments": UnrolledSegments(),
}


def of_agreement(part, name):
    """A run of ``benchmarks.agreement``, with the effects found there."""
    (clf, X, y), given, left_out = network(part, name)
    truth = np.full(len(y), np.nan)
    truth[left_out] = read(f"agreement_{part}")["networks"][name]["scores"]["truth"]
    return clf, (X, y), given["validation"], truth


def of_cnn():
    """A convolutional network without batch norm on digits, 60 rows left out."""
    X, y, _, validation = rows("digits", 0.1, SEED)
    torch.manual_seed(SEED)
    settings = DIGITS | {"lr": 0.3, "rho": 0.05, "optimizer__momentum": 0.9}
    clf = SAMClassifier(digits_cnn(nn.GELU, False), random_state=SEED, **settings)
    left_out = np.random.default_rng(SEED).permutation(len(y))[:60].tolist()
    truth = SAMInfluence(clf, method=LeaveOneOut(rows=left_out), validation=validation)
    return clf, (X, y), validation, truth.fit(X, y).scores_


CASES = {
    "digits MLP, GELU": lambda: of_agreement("digits", "MLP gelu, rho 0.05, seed 0"),
    "digits MLP, Tanh": lambda: of_agreement("digits", "MLP tanh, rho 0.05, seed 0"),
    "digits CNN, GELU": of_cnn,
    "mnist MLP, GELU": lambda: of_agreement("mnist", "MLP gelu, 10 % wrong, seed 0"),
}


def one_case(clf, data, validation, truth):
    def trained(trajectory):
        return clone(clf).set_params(trajectory=trajectory).fit(*data)

    def fitted(model, method):
        asking = SAMInfluence(FrozenEstimator(model), method=method, validation=validation)
        return asking.fit(*data)

    found, ratios, keep, load = {}, {}, [], os.getloadavg()[0]
    trained("auto")  # pays for what torch does on its first call only
    for _ in range(N_REPEATS):
        for trajectory, methods in (("auto", METHODS), (10, {"exact, 10 states": EXACT})):
            training, model = measured(trained, trajectory)
            keep.append(model.trajectory_.keep)
            for name, method in methods.items():
                seconds, found[name] = measured(fitted, model, method)
                ratios.setdefault(name, []).append(seconds / training)
    exact = found["exact"].scores_
    return {
        "n_steps": model.trajectory_.n_steps,
        "keep": keep[0],
        "load": [load, os.getloadavg()[0]],
        "seconds_training": training,
        "growth": float(found["segments"].diagnostics_["growth"].iloc[0]),
        "methods": {
            name: {
                "trainings": statistics.median(ratios[name]),
                "trainings_min": min(ratios[name]),
                "trainings_max": max(ratios[name]),
                "pearson_with_exact": float(np.corrcoef(each.scores_, exact)[0, 1]),
                **agreement(each.scores_, truth).loc[0, ["pearson", "slope"]].to_dict(),
            }
            for name, each in found.items()
        },
    }


def measured(function, *args):
    """CPU seconds of a call, and what it returns."""
    start = time.process_time()
    returned = function(*args)
    return time.process_time() - start, returned


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    content = read("unrolled_cost", {"machine": machine(SEED), "cases": {}})
    for name in CASES.keys() - content["cases"].keys():
        content["cases"][name] = one_case(*CASES[name]())
        print(name, content["cases"][name], flush=True)
        write("unrolled_cost", content)
