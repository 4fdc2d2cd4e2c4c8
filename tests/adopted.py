"""Networks trained by SAMClassifier, and the same adopted with checkpoints of their run."""

import copy

import numpy as np
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.training import Checkpoint

RHO, LR, BATCH_SIZE = 0.1, 0.2, 8


def rows(n, seed):
    """Rows of three classes that overlap."""
    random = np.random.default_rng(seed)
    y = random.integers(3, size=n)
    return np.eye(3, 4)[y] + random.normal(size=(n, 4)), y


X, Y = rows(32, 0)
VALIDATION = ValidationData(*rows(20, 1))


def module():
    """A smooth network in float64."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)).double()


def with_batch_norm():
    """A network that computes otherwise in training mode."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.GELU(), nn.Linear(5, 3)).double()


def trained(network, sample_weight=None, **settings):
    """A SAMClassifier in float64, with a recorded state in each of three stretches."""
    usual = {"rho": RHO, "lr": LR, "batch_size": BATCH_SIZE, "max_epochs": 3, "trajectory": 3}
    net = SAMClassifier(network, dtype="float64", random_state=0, **usual | settings)
    return net.fit(X, Y, sample_weight)


def adopted(net, **settings):
    """The network of a trained net, adopted."""
    settings = {"rho": net.rho, "lr": LR, "batch_size": BATCH_SIZE, "random_state": 0} | settings
    return SAMClassifier.from_module(net.module_, X, Y, **settings)


def checkpoints_of(net):
    """The recorded stretches of a trained net as a user would have kept them."""
    recorded, states = net.trajectory_, {state.step: state for state in net.trajectory_.states}
    start = Checkpoint(state_dict_of(net, states[0]), rate=0)
    return [start] + [
        Checkpoint(
            state_dict_of(net, states[s.middle]),
            rate=sum(step.rates[0] for step in recorded.schedule[s.first : s.last]),
            rows=recorded.schedule[s.middle].indices,
        )
        for s in recorded.stretches
    ]


def state_dict_of(net, state):
    """A recorded state as ``module.state_dict()`` gave it."""
    network = copy.deepcopy(net.module_)
    nn.utils.vector_to_parameters(state.params, network.parameters())
    network.load_state_dict(state.buffers, strict=False)
    return network.state_dict()


def influence(net, method, **settings):
    """What `method` finds for an estimator, frozen if it was trained here."""
    return SAMInfluence(net, method=method, validation=VALIDATION, random_state=0, **settings)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.nanmax(np.abs(expected)))
