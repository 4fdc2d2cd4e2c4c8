"""Tangents through one training step: the transpose of ``step_vjp``, and finite differences."""

import math

import pytest
import torch
from skorch.callbacks import GradientNormClipping
from torch import nn

from sam_attribution.dynamics import Cotangent, Tangent, TrainingState
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.problem import FunctionalTraining
from tests.models import fitted_problem

SGD = {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.05}
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.02, "optimizer__weight_decay": 0.05}
OPTIMIZERS = {
    "plain": {},
    "momentum": SGD,
    "dampened": SGD | {"optimizer__dampening": 0.3},
    "nesterov": SGD | {"optimizer__nesterov": True},
    "adam": ADAM,
    "adamw": ADAM | {"optimizer": torch.optim.AdamW},
}
BALLS = {
    "p=1.5": PNorm(1.5),
    "p=2": PNorm(2),
    "p=3": PNorm(3),
    "p=inf": PNorm(math.inf),
    "adaptive": Adaptive(),
}


def with_dropout():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)).double()


CASES = {
    f"{o}, {b}": {**OPTIMIZERS[o], "perturbation": BALLS[b]} for o in OPTIMIZERS for b in BALLS
}
CASES |= {
    "batch norm": {"kind": "cnn", **SGD},
    "batch norm, adam": {"kind": "cnn", **ADAM},
    "dropout": {"module": with_dropout(), **SGD},
    "clipping": {"callbacks": [GradientNormClipping(0.1)], **SGD},
    "clipping, adam": {"callbacks": [GradientNormClipping(0.1)], **ADAM},
    "no ascent": {"rho": 0.0, "kind": "cnn", **SGD},
    "sample weights": {"sample_weight": True, **SGD},
}


def recorded_step(case, number):
    """A step of a real training and the state before it."""
    settings = {"kind": "mlp", "rho": 0.2, "trajectory": "all"} | CASES[case]
    problem = fitted_problem(settings.pop("kind"), **settings)
    training = FunctionalTraining(problem)
    return problem, training.step(number), training.state(problem.path.nearest(number)), training


def draws(k, like):
    return torch.randn(k, *like.shape, dtype=torch.float64)


def random_changes(kind, k, state, tracked):
    memory = tuple(draws(k, m) if m.ndim else None for m in state.memory)
    return kind(draws(k, state.params), {n: draws(k, state.buffers[n]) for n in tracked}, memory)


def inner(a, b):
    """Products of all k of `a` with all k of `b`."""
    total = a.params @ b.params.T
    for name in a.buffers:
        total = total + a.buffers[name].flatten(1) @ b.buffers[name].flatten(1).T
    for left, right in zip(a.memory, b.memory, strict=True):
        if left is not None:
            total = total + left @ right.T
    return total


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", [0, 4])
def test_the_product_with_tangents_is_the_transpose_of_that_with_cotangents(case, number):
    torch.manual_seed(0)
    problem, step, state, training = recorded_step(case, number)
    tracked = sorted(training.tracked)
    tangent = random_changes(Tangent, 3, state, tracked)
    weights = torch.randn(3, len(step.batch.rows), dtype=torch.float64)
    after, pushed = step.jvp(state, tangent, weights)
    cotangent = random_changes(Cotangent, 2, after, tracked)
    product = step.vjp(state, cotangent)
    labels = problem.y[step.batch.rows]
    on_rows = sum(
        problem.row_loss.along(r.output, r.tangents.movedim(0, -1), labels)
        for r in product.sensitivities
    )
    forwards = inner(cotangent, pushed)
    backwards = inner(product.before, tangent) + on_rows.T @ (step.batch.shares * weights).T
    torch.testing.assert_close(forwards, backwards, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(after.params, product.after.params, rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", ["nesterov, p=1.5", "adam, adaptive", "batch norm", "clipping"])
def test_tangents_equal_finite_differences(case):
    torch.manual_seed(0)
    _, step, state, training = recorded_step(case, 4)
    tracked = sorted(training.tracked)
    tangent = random_changes(Tangent, 1, state, tracked)
    weights, h = torch.randn(1, len(step.batch.rows), dtype=torch.float64), 1e-6
    if "adam" in case:  # the second moment must stay positive
        tangent = tangent._replace(memory=(None, tangent.memory[1], 0 * tangent.memory[2]))
    _, pushed = step.jvp(state, tangent, weights)

    def after(size):
        moved = TrainingState(
            state.params + size * tangent.params[0],
            state.buffers | {n: state.buffers[n] + size * tangent.buffers[n][0] for n in tracked},
            tuple(
                m if t is None else m + size * t[0]
                for m, t in zip(state.memory, tangent.memory, strict=True)
            ),
        )
        return step.after(moved, 1 + size * weights[0])

    ahead, behind = after(h), after(-h)
    close = {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close((ahead.params - behind.params) / (2 * h), pushed.params[0], **close)
    for name in tracked:
        difference = (ahead.buffers[name] - behind.buffers[name]) / (2 * h)
        torch.testing.assert_close(difference, pushed.buffers[name][0], **close)
    for a, b, t in zip(ahead.memory, behind.memory, pushed.memory, strict=True):
        if t is not None:
            torch.testing.assert_close((a - b) / (2 * h), t[0], **close)
