"""Unrolled with the perturbation held fixed: against autograd through the same training by hand."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import GradientNormClipping
from torch import nn
from torch.func import functional_call

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import Unrolled

rng = np.random.default_rng(0)
X, X_val = rng.normal(size=(30, 4)), rng.normal(size=(12, 4))
y, y_val = (np.argmax(rows[:, :3] + 0.5 * rows[:, 1:], 1) for rows in (X, X_val))
SGD = {"lr": 0.2, "optimizer__momentum": 0.9, "optimizer__weight_decay": 0.02}
NESTEROV = SGD | {"optimizer__nesterov": True}
ADAM = {"lr": 0.02, "optimizer": torch.optim.Adam, "optimizer__weight_decay": 0.02}
ADAMW = ADAM | {"optimizer": torch.optim.AdamW}


def network(norm=False):
    torch.manual_seed(1)
    layers = [nn.Linear(4, 5, bias=not norm), nn.Tanh(), nn.Linear(5, 3)]
    if norm:
        layers.insert(1, nn.BatchNorm1d(5))
    return nn.Sequential(*layers).double()


def influence(method, module=None, **settings):
    clf = SAMClassifier(
        module or network(), max_epochs=4, batch_size=8, rho=0.2, dtype="float64", random_state=0,
        **settings,
    )  # fmt: skip
    return SAMInfluence(clf, method=method, validation=ValidationData(X_val, y_val)).fit(X, y)


def by_hand(clf, module, at, optimizer, lr, **options):
    """Minus the derivative of the validation loss in every row's weight, eps a constant."""
    options = {name.removeprefix("optimizer__"): value for name, value in options.items()}
    weights = torch.ones(len(y), dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in module.named_parameters()]
    params = [p.detach().clone().requires_grad_() for p in network(len(module) > 3).parameters()]
    buffers = {name: b.clone() for name, b in network(len(module) > 3).named_buffers()}
    inputs, labels = torch.tensor(X), torch.tensor(y)
    memory = [(torch.zeros_like(p), torch.zeros_like(p)) for p in params]

    def gradients(params, rows, weights, **graph):
        state = dict(zip(names, params, strict=True)) | buffers
        losses = nn.functional.cross_entropy(
            functional_call(module, state, (inputs[rows],)), labels[rows], reduction="none"
        )
        return torch.autograd.grad(weights[rows] @ losses / len(rows), params, **graph)

    module.train()
    for number, step in enumerate(clf.trajectory_.schedule, 1):
        rows = torch.as_tensor(np.array(step.indices))
        first = gradients(params, rows, weights, create_graph=True)
        size = torch.sqrt(sum((g.detach() ** 2).sum() for g in first))
        moved = [p + 0.2 * g.detach() / size for p, g in zip(params, first, strict=True)]
        taken = gradients(moved, rows, weights, create_graph=True)
        if at == "w":  # the step of training, with the derivative of another gradient
            taken = [t.detach() + g - g.detach() for t, g in zip(taken, first, strict=True)]
        update = adam if "Adam" in optimizer.__name__ else sgd
        pairs = [
            update(p, g, m, number, lr, decoupled=optimizer is torch.optim.AdamW, **options)
            for p, g, m in zip(params, taken, memory, strict=True)
        ]
        params, memory = [p for p, _ in pairs], [m for _, m in pairs]
    for p, trained in zip(params, clf.module_.parameters(), strict=True):
        torch.testing.assert_close(p, trained.data)  # it is the training that was recorded
    state = dict(zip(names, params, strict=True)) | dict(clf.module_.named_buffers())
    module.eval()
    output = functional_call(module, state, (torch.tensor(X_val),))
    loss = nn.functional.cross_entropy(output, torch.tensor(y_val))
    return -torch.autograd.grad(loss, weights)[0].numpy()


def sgd(p, g, memory, number, lr, *, decoupled, momentum, weight_decay, nesterov=False):
    g = g + weight_decay * p
    velocity = momentum * memory[0] + g
    return p - lr * (g + momentum * velocity if nesterov else velocity), (velocity, None)


def adam(p, g, memory, number, lr, *, decoupled, weight_decay):
    p, g = (p * (1 - lr * weight_decay), g) if decoupled else (p, g + weight_decay * p)
    first, second = 0.9 * memory[0] + 0.1 * g, 0.999 * memory[1] + 0.001 * g * g
    size = (second / (1 - 0.999**number)).sqrt() + 1e-8
    return p - lr * first / (1 - 0.9**number) / size, (first, second)


@pytest.mark.slow
@pytest.mark.parametrize("at", ["w+eps", "w"])
@pytest.mark.parametrize(
    "options",
    [SGD, NESTEROV, ADAM, ADAMW, SGD | {"trajectory": 2}],
    ids=["momentum", "nesterov", "adam", "adamw", "replayed"],
)
def test_it_is_the_derivative_with_eps_a_constant(options, at):
    found = influence(Unrolled(ascent="fixed", at=at, check=None), **options)
    options = {"optimizer": torch.optim.SGD} | options
    options.pop("trajectory", None)
    expected = by_hand(found.estimator_, network(), at, **options)
    np.testing.assert_allclose(found.scores_, expected, rtol=1e-7, atol=1e-11)
    exact = influence(Unrolled(check=None), **options).scores_
    assert 0.9 < np.corrcoef(exact, expected)[0, 1] < 1 - 1e-6


@pytest.mark.slow
def test_batches_in_parts_and_other_labels_are_read_off_as_for_the_exact_derivative():
    """At rho = 0 nothing is left out."""
    options = {"module": network(norm=True), "m_sharpness": 3, **SGD}
    for rho, agree in ((0.0, True), (0.2, False)):
        fixed = influence(Unrolled(ascent="fixed", check=None), **options)
        fixed.estimator.set_params(rho=rho)
        tables = [
            SAMInfluence(fixed.estimator, method=method, validation=fixed.validation)
            .fit(X, y)
            .transform_train_
            for method in (Unrolled(check=None), Unrolled(ascent="fixed", check=None))
        ]
        assert np.allclose(*tables, rtol=1e-9, atol=1e-12) == agree


def test_what_cannot_be_held_fixed_is_refused():
    with pytest.raises(ValueError, match='at="w" leaves out the perturbation'):
        influence(Unrolled(at="w"))


def test_a_training_that_was_clipped_is_refused():
    """One that is still to come is refused before it begins, see the tests of influence."""
    clf = SAMClassifier(network(), callbacks=[GradientNormClipping(0.1)], dtype="float64").fit(X, y)
    at_w = Unrolled(ascent="fixed", at="w", check=None)
    asked = SAMInfluence(FrozenEstimator(clf), method=at_w, validation=ValidationData(X_val, y_val))
    with pytest.raises(ValueError, match='at="w" does not compute the gradients that were clipped'):
        asked.fit(X, y)


def test_a_trained_net_whose_clipping_never_clipped_counts_as_unclipped():
    at_w = Unrolled(ascent="fixed", at="w", check=None)
    settings = {"dtype": "float64", "max_epochs": 3, "random_state": 0}
    free, idle = (
        SAMInfluence(
            FrozenEstimator(SAMClassifier(network(), callbacks=callbacks, **settings).fit(X, y)),
            method=at_w,
            validation=ValidationData(X_val, y_val),
        ).fit(X, y)
        for callbacks in ([], [GradientNormClipping(1e9)])
    )
    assert np.array_equal(free.scores_, idle.scores_)
    assert np.abs(free.scores_).max() > 1e-4
