"""Edits by replay at several learning rates, for several kinds of training.

    python -m benchmarks.edit_rates

The network and the rows of ``benchmarks.editing digits``, with SGD, with Adam, with batch norm and
with a rate that falls to 0 by a cosine. Wrong labels are removed, and two random rows of clean data
are: what such an edit does to the accuracy is not the rows' doing. Writes
``benchmarks/results/edit_rates.json``; 3 minutes, one thread.
"""

import statistics
import warnings
from itertools import product

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.editing import DATA, digits
from benchmarks.report import machine, write
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData

SEEDS = 3
FACTORS = (None, 0.5, 1, 2, 3, 6)
SGD = {"lr": 0.05, "optimizer__momentum": 0.9}
COSINE = {"callbacks": [("rate", LRScheduler(CosineAnnealingLR, T_max=30))]}
KINDS = {
    "sgd": SGD,
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.002},
    "batch norm": SGD,
    "cosine": SGD | COSINE,
}


def accuracies(kind, labels, seed):
    """Test accuracy before an edit, after training again, and after a replay at every factor."""
    torch.manual_seed(seed)
    (rows, validation, test), module, options = digits(seed)
    if kind == "batch norm":
        module = nn.Sequential(module[0], nn.BatchNorm1d(32), *module[1:])
    X, y = rows[0], rows[1]
    removed = np.array([0, 1])
    if labels != "clean":
        y, groups = DATA[labels](y, seed)
        removed = groups["wrong"]
    net = SAMClassifier(
        module, rho=0.05, batch_size=64, random_state=seed, **options, **KINDS[kind]
    ).fit(X, y)
    influence = SAMInfluence(
        FrozenEstimator(net), method="grad-dot", validation=ValidationData(*validation)
    ).fit(X, y)
    ways = {"retrain": {"how": "retrain"}} | {
        f"lr_factor={factor}": {"how": "replay", "lr_factor": factor} for factor in FACTORS
    }
    edited = {way: influence.remove(removed, **how).score(*test) for way, how in ways.items()}
    return {"none": net.score(*test)} | edited


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result = {"machine": machine(0), "runs": {}}
    for kind, labels in product(KINDS, ("symmetric, 10 %", "pair, 20 %", "clean")):
        runs = [accuracies(kind, labels, seed) for seed in range(SEEDS)]
        result["runs"][f"{kind}: {labels}"] = runs
        write("edit_rates", result)
        print(f"{kind}: {labels}, again {statistics.mean(run['retrain'] for run in runs):.4f}")
        for way in runs[0]:
            off = [run[way] - run["retrain"] for run in runs]
            print(f"  {way:16} {statistics.mean(off):+.4f} (worst {min(off):+.4f})", flush=True)


if __name__ == "__main__":
    main()
