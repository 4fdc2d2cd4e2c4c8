"""Modules that keep tensors of a forward pass, which torch cannot copy."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.utils import parametrizations

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.training import copy_of_module, kept_tensors

X = np.random.default_rng(0).normal(size=(12, 4))
y = np.arange(12) % 3


class Net(nn.Module):
    keeps = False

    def __init__(self):
        super().__init__()
        self.layer, self.head, self.maps = nn.Linear(4, 5), nn.Linear(5, 3), []

    def forward(self, X):
        hidden = torch.tanh(self.layer(X))
        if self.keeps:
            self.last, self.maps = hidden, [hidden]
        return self.head(hidden)


class Keeping(Net):
    keeps = True


def normed(norm):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3))


def fitted(module):
    settings = {"max_epochs": 1, "trajectory": 10, "random_state": 0, "dtype": "float64"}
    return SAMClassifier(module, **settings).fit(X, y)


@pytest.mark.parametrize("method", ["gif", "loo"])
def test_activations_that_a_module_keeps_change_no_score(method):
    scores = [
        SAMInfluence(FrozenEstimator(fitted(kind)), method=method, validation=ValidationData(X, y))
        .fit(X, y)
        .scores_
        for kind in (Net, Keeping)
    ]
    np.testing.assert_array_equal(*scores)


def test_a_copy_is_equal_and_keeps_no_graph():
    module = Keeping()
    output = module(torch.ones(2, 4))
    assert [name for name, _ in kept_tensors(module)] == ["maps", "last"]
    twin = copy_of_module(module)
    assert twin.last.is_leaf
    assert twin.maps[0] is twin.last
    assert torch.equal(twin.last, module.last)
    assert module.last.grad_fn is not None
    assert torch.equal(twin(torch.ones(2, 4)), output)


def test_old_weight_norm_is_trained_as_the_new_one():
    nets = [fitted(normed(norm)) for norm in (nn.utils.weight_norm, parametrizations.weight_norm)]
    np.testing.assert_allclose(*[net.predict_proba(X) for net in nets])


def test_what_cannot_be_cloned_is_named():
    net = SAMClassifier(normed(nn.utils.weight_norm))
    with pytest.raises(ValueError, match=r"it holds the tensor '0.weight' with its autograd graph"):
        SAMInfluence(net, validation=ValidationData(X, y)).fit(X, y)
