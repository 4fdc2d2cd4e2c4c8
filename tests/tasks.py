"""Tasks without classes, each with the loss of a row by hand: small networks in float64."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import softplus

from sam_attribution import SAMNet

N = 24
random = np.random.default_rng(0)
FEATURES = random.normal(size=(N, 4))
LABELS = (FEATURES[:, :3] + random.normal(size=(N, 3)) > 0).astype(int)
SOFT = random.dirichlet(np.ones(3), N)
CODES = random.integers(3, size=N)
TOKENS = random.integers(6, size=(N, 5))
LENGTHS = random.integers(1, 6, size=N)
LENGTHS[3] = 0  # a row of padding alone
NEXT = np.where(np.arange(5) < LENGTHS[:, None], (TOKENS + 1) % 6, -100)
IMAGES = random.normal(size=(N, 1, 3, 3))
MASKS = np.where(random.random((N, 3, 3)) < 0.2, 255, IMAGES[:, 0] > 0).astype(int)
CLASS_WEIGHT = torch.tensor([1.0, 3.0])


def perceptron(n_outputs, *layers):
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, n_outputs), *layers)


class Tagger(nn.Module):
    """A class for every token from it and the one before, (n, C, T)."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(6, 3), nn.Linear(6, 6)

    def forward(self, tokens):
        own = self.embedding(tokens)
        before = torch.cat([torch.zeros_like(own[:, :1]), own[:, :-1]], dim=1)
        return self.head(torch.tanh(torch.cat([own, before], dim=2))).transpose(1, 2)


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Conv2d(1, 2, 2), nn.ConvTranspose2d(2, 1, 2)

    def forward(self, images):
        return self.decode(torch.tanh(self.encode(images)))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.mean, self.width = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, X):
        hidden = torch.tanh(self.body(X))
        return {"mean": self.mean(hidden), "log_width": self.width(hidden)[:, 0]}


class OwnLoss(nn.Module):
    """A module that puts out the loss of every row itself."""

    def __init__(self):
        super().__init__()
        self.code = nn.Linear(4, 2)

    def forward(self, X):
        return ((torch.tanh(self.code(X)) @ self.code.weight - X) ** 2).mean(1)


def gaussian(output, y):
    width = output["log_width"].exp()
    return ((output["mean"] - y) ** 2).mean(1) / width + output["log_width"]


def own(output, y):
    return output


def labels_by_hand(z, y):
    return (softplus(z) - y * z).mean(1)


def one_logit_by_hand(z, y):
    return softplus(z.flatten()) - y * z.flatten()


def soft_by_hand(z, y):
    return -(y * z.log_softmax(1)).sum(1)


def smoothed_by_hand(z, y):
    log_p = z.log_softmax(1)
    return -0.8 * log_p[torch.arange(len(y)), y] - 0.2 * log_p.mean(1)


def tokens_by_hand(z, y):
    losses = []
    for row, target in zip(z, y, strict=True):
        valid = target >= 0
        log_p = row.T.log_softmax(1)[valid]
        picked = log_p[torch.arange(len(log_p)), target[valid]]
        losses.append(-picked.mean() if valid.any() else 0 * row.sum())
    return torch.stack(losses)


def pixels_by_hand(z, y):
    losses = []
    for row, target in zip(z, y, strict=True):
        valid = target.flatten() < 255
        log_p = row.flatten(1).T.log_softmax(1)[valid]
        target = target.flatten()[valid]
        weight = CLASS_WEIGHT.to(z)[target]
        losses.append(-(weight * log_p[torch.arange(len(target)), target]).sum() / weight.sum())
    return torch.stack(losses)


def squares_by_hand(z, y):
    return ((z - y) ** 2).flatten(1).mean(1)


class Task(NamedTuple):
    """Module, criterion, rows and targets, and the loss of rows by hand."""

    module: object
    criterion: object
    X: np.ndarray
    y: np.ndarray
    by_hand: object

    def net(self, **settings):
        """A SAMNet in float64 that trains from a fixed start."""
        torch.manual_seed(0)
        defaults = {"rho": 0.1, "lr": 0.2, "batch_size": 8, "max_epochs": 2, "random_state": 0}
        settings = defaults | {"dtype": "float64", "trajectory": "all"} | settings
        return SAMNet(self.module().double(), criterion=self.criterion, **settings)


TASKS = {
    "several labels": Task(
        lambda: perceptron(3), nn.BCEWithLogitsLoss, FEATURES, LABELS, labels_by_hand
    ),
    "one logit": Task(
        lambda: perceptron(1, nn.Flatten(0)),
        nn.BCEWithLogitsLoss, FEATURES, LABELS[:, 0], one_logit_by_hand,
    ),
    "one logit in a column": Task(
        lambda: perceptron(1), nn.BCEWithLogitsLoss, FEATURES, LABELS[:, 0], one_logit_by_hand
    ),
    "soft labels": Task(lambda: perceptron(3), nn.CrossEntropyLoss, FEATURES, SOFT, soft_by_hand),
    "label smoothing": Task(
        lambda: perceptron(3),
        nn.CrossEntropyLoss(label_smoothing=0.2), FEATURES, CODES, smoothed_by_hand,
    ),
    "tokens": Task(Tagger, nn.CrossEntropyLoss, TOKENS, NEXT, tokens_by_hand),
    "pixels": Task(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 1)),
        nn.CrossEntropyLoss(CLASS_WEIGHT, ignore_index=255), IMAGES, MASKS, pixels_by_hand,
    ),
    "autoencoder": Task(AutoEncoder, nn.MSELoss, IMAGES, IMAGES, squares_by_hand),
    "several outputs": Task(TwoHeads, gaussian, FEATURES, FEATURES[:, :3] ** 2, gaussian),
    "a loss of the module": Task(OwnLoss, own, FEATURES, LABELS, own),
}  # fmt: skip
