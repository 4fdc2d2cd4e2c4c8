"""The networks that people train, from torchvision: a SAM step and its scores.

They are built from torchvision's own blocks, in fewer layers than the published ones.
"""

import copy
from functools import cache, lru_cache, partial

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.models import ResNet, VisionTransformer
from torchvision.models.resnet import BasicBlock, Bottleneck

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.methods import GIF
from sam_attribution.training import SAMClassifier

N_CLASSES = 3
RHO, RATE = 0.05, 0.01
# batch-norm over a handful of numbers is chaotic: in float32 two right answers differ
ARCHITECTURES = {
    # of resnet18: a block that adds its input as it is, and blocks that project it
    "basic blocks": (partial(ResNet, BasicBlock, [2, 1, 1, 1]), "float64"),
    # of resnet50, a quarter as wide
    "bottlenecks": (partial(ResNet, Bottleneck, [1, 1, 1, 1], width_per_group=16), "float64"),
    "vision transformer": (
        partial(
            VisionTransformer,
            image_size=32,
            patch_size=16,
            num_layers=2,
            num_heads=4,
            hidden_dim=64,
            mlp_dim=128,
        ),
        "float32",
    ),
}
each = pytest.mark.parametrize("name", ARCHITECTURES)


@cache
def data(name):
    """Rows trained on and held-out rows, with their labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 3, 32, 32)).astype(ARCHITECTURES[name][1])
    return X[:4], np.array([0, 2, 1, 1]), X[4:], np.array([1, 0])


@lru_cache(maxsize=1)
def fitted(name):
    """The network as it was, and a classifier after one step on all rows."""
    torch.manual_seed(0)
    build, dtype = ARCHITECTURES[name]
    module = build(num_classes=N_CLASSES).to(getattr(torch, dtype))
    settings = {"batch_size": -1, "max_epochs": 1, "trajectory": 1, "random_state": 0}
    clf = SAMClassifier(module, rho=RHO, lr=RATE, dtype=dtype, **settings)
    return module, clf.fit(*data(name)[:2])


def mean_gradient(module, X, y):
    loss = cross_entropy(module(torch.tensor(X)), torch.tensor(y))
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return nn.utils.parameters_to_vector(gradients)


@pytest.mark.slow
@each
def test_a_step_equals_one_by_hand(name):
    (module, clf), (X, y, *_) = fitted(name), data(name)
    twin = copy.deepcopy(module).train()
    order = clf.trajectory_.schedule[0].indices
    w = nn.utils.parameters_to_vector(twin.parameters()).detach().clone()
    g = mean_gradient(twin, X[order], y[order])
    statistics = {name: b.clone() for name, b in twin.named_buffers()}
    nn.utils.vector_to_parameters(w + RHO * g / g.norm(), twin.parameters())
    climbed = mean_gradient(twin, X[order], y[order])
    trained = nn.utils.parameters_to_vector(clf.module_.parameters()).detach()
    step = RATE * climbed.norm()
    assert (trained - (w - RATE * climbed)).norm() < 1e-3 * step
    assert (trained - (w - RATE * g)).norm() > 1e-2 * step  # the perturbation did something
    for buffer, b in clf.module_.named_buffers():
        torch.testing.assert_close(b, statistics[buffer])


@pytest.mark.slow
@each
def test_scores_equal_gradients_row_by_row(name):
    """GIF on one stretch: rate / n <grad V(w_T), grad l_k(w_0 + eps_0)>, eps_0 as in training."""
    (module, clf), (X, y, X_query, y_query) = fitted(name), data(name)
    v = mean_gradient(copy.deepcopy(clf.module_).eval(), X_query, y_query)
    first = copy.deepcopy(module).eval()
    w = nn.utils.parameters_to_vector(first.parameters()).detach().clone()
    g = mean_gradient(copy.deepcopy(module).train(), X, y)  # no dropout, but batch norm
    nn.utils.vector_to_parameters(w + RHO * g / g.norm(), first.parameters())
    rows = [float(mean_gradient(first, X[[k]], y[[k]]) @ v) for k in range(len(y))]
    expected = RATE / len(y) * np.array(rows)
    influence = SAMInfluence(
        FrozenEstimator(clf),
        method=GIF(n_checkpoints=1),
        validation=ValidationData(X_query, y_query),
    ).fit(X, y)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(influence.scores_, expected, atol=1e-3 * scale, rtol=0)
