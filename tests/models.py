"""Small networks and classifiers that the tests train."""

import copy
from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import make_classification, make_regression
from torch import nn

from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import SAMClassifier, SAMRegressor


class SmallCNN(nn.Module):
    """Convolution, BatchNorm, pooling, a linear head; images (1, 6, 6)."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2))
        self.head = nn.Linear(16, n_classes)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))


def group_cnn():
    """A CNN that computes the same in training and in evaluation mode."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    return nn.Sequential(*layers)


class _Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 3 * gradient * ctx.saved_tensors[0] ** 2


class Cubed(nn.Module):
    """A function that can be differentiated once."""

    def forward(self, X):
        return _Cube.apply(X)


class Branching(nn.Module):
    """A branch on the row, which vmap does not know."""

    def __init__(self, n_features=6):
        super().__init__()
        self.layer = nn.Linear(n_features, 3)

    def forward(self, X):
        return torch.stack([self.layer(x.flatten()) * (1 + (x.sum() > 0).item()) for x in X])


def tabular(n=40, seed=0, n_classes=3):
    """Rows, labels and weights of a small classification problem."""
    X, y = make_classification(
        n, 6, n_informative=4, n_classes=n_classes, random_state=seed, n_clusters_per_class=1
    )
    return X, y, np.random.default_rng(seed).uniform(0.5, 2, n)


def targets(n=40, seed=0):
    """Rows, targets and weights of a small regression problem."""
    X, y = make_regression(n, 6, n_informative=4, noise=20, random_state=seed)
    return X, (y - y.mean()) / y.std(), np.random.default_rng(seed).uniform(0.5, 2, n)


def images(n=40, seed=0):
    """Images (n, 1, 6, 6) and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 1, 6, 6)) + 0.5 * y[:, None, None, None], y


def fitted(kind, sample_weight=False, **settings):
    """A classifier (kind "regression": a regressor) trained for a few steps, and its data.

    Plain settings are trained with once, and copied for each call.
    """
    if all(isinstance(value, _PLAIN) for value in settings.values()):
        return copy.deepcopy(_trained_once(kind, sample_weight, frozenset(settings.items())))
    return _trained(kind, sample_weight, settings)


_PLAIN = int, float, str, type, type(None)


@lru_cache(maxsize=100)
def _trained_once(kind, sample_weight, settings):
    return _trained(kind, sample_weight, dict(settings))


def _trained(kind, sample_weight, settings):
    defaults = {
        "max_epochs": 3, "batch_size": 8, "random_state": 0, "dtype": "float64", "rho": 0.1,
        "verbose": 0,
    }  # fmt: skip
    X, y, weight = tabular()
    if kind == "cnn":
        X, y = images()
        defaults["module"] = SmallCNN
    if kind == "regression":
        X, y, weight = targets()
    weight = weight if sample_weight else None
    net = (SAMRegressor if kind == "regression" else SAMClassifier)(**defaults | settings)
    return net.fit(X, y, sample_weight=weight), X, y, weight


def fitted_problem(kind, sample_weight=False, options=None, **settings):
    """The problem of such a net."""
    net, X, y, weight = fitted(kind, sample_weight, **settings)
    return problem_from_estimator(net, X, y, weight, **options or {})


def row_losses(problem, output, y):
    """Cross-entropy, or the squared error of a regression, of every row."""
    if problem.n_classes is None:
        return (output[:, 0] - y) ** 2
    return nn.functional.cross_entropy(output, y, reduction="none")


def given_gradients(problem, point, buffers, rows=slice(None)):
    """Gradients of the rows' losses with the labels they have, one backward pass each: (n, P)."""
    leaf = point.detach().clone().requires_grad_()
    names = problem.layout.unflatten(leaf)
    gradients = []
    for row, y in zip(problem.X[rows], problem.y[rows], strict=True):
        output = torch.func.functional_call(problem.module, (names, buffers), (row[None],))
        loss = row_losses(problem, output, y[None])[0]
        gradients.append(torch.autograd.grad(loss, leaf, retain_graph=True)[0])
    return torch.stack(gradients)


def batch_gradients(problem, point, buffers, rows):
    """Gradients of the losses of a batch's rows in training mode, without dropout: (n, P)."""
    module = copy.deepcopy(problem.module).train()
    leaf = point.detach().clone().requires_grad_()
    own = problem.layout.unflatten(leaf), {name: b.clone() for name, b in buffers.items()}
    output = torch.func.functional_call(module, own, (problem.X[rows],))
    losses = row_losses(problem, output, problem.y[rows])
    return torch.stack([torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in losses])


def row_gradients(problem, point, buffers):
    """Gradients of every row's loss for every label, one backward pass each: (n, C, P)."""
    leaf = point.detach().clone().requires_grad_()
    names = problem.layout.unflatten(leaf)
    table = []
    for row in problem.X:
        logits = torch.func.functional_call(problem.module, (names, buffers), (row[None],))
        losses = -logits.log_softmax(1)[0]
        table.append(
            torch.stack([torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in losses])
        )
    return torch.stack(table)
