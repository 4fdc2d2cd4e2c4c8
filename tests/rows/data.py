"""Rows in several forms: an array, a Dataset, a dict, a tuple; and modules that take them."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from sam_attribution.training import SAMClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 5)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)


class Rows(Dataset):
    """Pairs of a row and its label, read one by one."""

    def __init__(self, X=X, y=Y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class Noisy(Rows):
    """Rows with random noise from three global streams: as random transforms have."""

    def __getitem__(self, i):
        noise = torch.randn(self.X.shape[1]).numpy() + np.random.randn() + random.random()
        return self.X[i] + 0.3 * noise, self.y[i]


class OneInput(nn.Module):
    """One array by the name ``a``."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, a):
        return self.layers(a)


class TwoInputs(OneInput):
    """The same network for rows in two parts."""

    def forward(self, a, b):
        return self.layers(torch.cat([a, b], 1))


def net(module=OneInput, **settings):
    """A classifier that trains for a few steps."""
    given = {"lr": 0.1, "max_epochs": 2, "batch_size": 8, "trajectory": 3, "random_state": 0}
    return SAMClassifier(module, **given | settings)


def weights_of(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach()


def gradient_at(module, params, inputs, labels):
    """Gradient of the mean loss of rows at flat parameters."""
    leaf, named, start = params.clone().requires_grad_(), {}, 0
    for name, p in module.named_parameters():
        named[name] = leaf[start : start + p.numel()].view(p.shape)
        start += p.numel()
    loss = cross_entropy(torch.func.functional_call(module, named, (inputs,)), labels)
    return torch.autograd.grad(loss, leaf)[0]
