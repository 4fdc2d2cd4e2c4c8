"""SAM training with row weights as a plain torch loop: nothing of the package but the record."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.models import SmallCNN, images, tabular


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
    module = copy.deepcopy(clf.module_).train()
    _put(module, clf.trajectory_.states[0])
    settings = clf.get_params_for("optimizer")
    optimizer = type(clf.optimizer_)(module.parameters(), **settings)
    X, y = torch.as_tensor(X).double(), torch.as_tensor(y)
    a = torch.ones(len(y)).double() if sample_weight is None else torch.as_tensor(sample_weight)
    for number, step in enumerate(clf.trajectory_.schedule):
        rows = torch.as_tensor(step.indices)
        shares = row_weights[rows] * a[rows] / a[rows].sum()
        seed = int(np.random.SeedSequence([clf.trajectory_.seed, number]).generate_state(1)[0])
        optimizer.param_groups[0]["lr"] = step.rates[0]
        _step(module, optimizer, X[rows], y[rows], shares, seed, step.rho, losses or _cross_entropy)
    return module.eval()


def _put(module, state):
    nn.utils.vector_to_parameters(state.params.clone(), module.parameters())
    module.load_state_dict(state.buffers, strict=False)


def _cross_entropy(output, y):
    return cross_entropy(output, y, reduction="none")


def _step(module, optimizer, X, y, shares, seed, rho, losses):
    def gradients():
        torch.manual_seed(seed)
        loss = shares @ losses(module(X), y)
        return torch.autograd.grad(loss, parameters)

    parameters = list(module.parameters())
    found = gradients()
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    before = [p.detach().clone() for p in parameters]
    norm = torch.cat([g.flatten() for g in found]).norm()
    with torch.no_grad():
        for p, g in zip(parameters, found, strict=True):
            p.add_(rho * g / norm)
    found = gradients()
    with torch.no_grad():
        for p, old, g in zip(parameters, before, found, strict=True):
            p.copy_(old)
            p.grad = g
    module.load_state_dict(buffers, strict=False)
    optimizer.step()
