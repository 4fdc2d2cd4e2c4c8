"""Short trainings, and the same on plain torch with other row weights."""

from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.models import SmallCNN, images, tabular
from tests.retrained import Run


def with_dropout():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)).double()


ADAM = {"optimizer": torch.optim.Adam, "lr": 0.02}
TRAININGS = {
    "momentum": {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.01},
    "nesterov": {"optimizer__momentum": 0.8, "optimizer__nesterov": True},
    "weighted": {"sample_weight": True},
    "batch norm": {"module": SmallCNN, "optimizer__momentum": 0.9},
    "dropout": {"module": with_dropout()},
    "adam": ADAM,
    "adamw": {**ADAM, "optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
    "without ascent": {"rho": 0.0},
}


def data_of(training):
    """Rows, labels and weights (or None) of one of the trainings."""
    X, y, weight = tabular()
    if training.get("module") is SmallCNN:
        X, y = images()
    return X, y, weight if training.get("sample_weight") else None


def retrained(clf, X, y, sample_weight, row_weights, losses=None):
    """The module that the recorded training of `clf` would have left with other row weights."""
    settings = clf.get_params_for("optimizer")
    settings.pop("lr", None)
    rho = clf.trajectory_.schedule[0].rho
    run = Run(
        clf.module_,
        torch.as_tensor(X).double(),
        torch.as_tensor(y),
        clf.trajectory_,
        lambda w, g: rho * g / g.norm(),
        type(clf.optimizer_),
        settings,
        None if sample_weight is None else torch.as_tensor(sample_weight),
        losses or partial(cross_entropy, reduction="none"),
    )
    with torch.random.fork_rng():
        return run.trained(row_weights)
