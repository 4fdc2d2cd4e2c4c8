"""The product of a step against torch.func's own reverse mode of the same step."""

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping
from torch import nn

from sam_attribution.dynamics import Cotangent, TrainingState
from sam_attribution.perturbation import Adaptive, Perturbation, PNorm
from sam_attribution.problem import FunctionalTraining, problem_from_estimator
from sam_attribution.training import SAMClassifier

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 5)), rng.integers(3, size=40)
weight = rng.uniform(0.5, 2, size=40)


class EpsAlone(Perturbation):
    def eps(self, w, g, rho):
        return rho * torch.tanh(g) / (1 + w * w)


CASES = {
    "sgd": {},
    "plain training": {"rho": 0.0},
    "nesterov": {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    "decay": {"optimizer__momentum": 0.9, "optimizer__weight_decay": 0.1},
    "dampened": {"optimizer__momentum": 0.9, "optimizer__dampening": 0.3},
    "groups": {"optimizer__param_groups": [("0.*", {"lr": 0.3, "weight_decay": 0.1})]},
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.02, "optimizer__weight_decay": 0.1},
    "adamw": {"optimizer": torch.optim.AdamW, "lr": 0.02, "optimizer__weight_decay": 0.1},
    "p=1.5": {"perturbation": PNorm(1.5)},
    "p=3": {"perturbation": PNorm(3)},
    "p=inf": {"perturbation": "linf", "rho": 0.02},
    "adaptive": {"perturbation": Adaptive()},
    "eps alone": {"perturbation": EpsAlone()},
    "clipped": {"callbacks": [("clip", GradientNormClipping(0.2))]},
    "class weights": {"criterion__weight": torch.tensor([1.0, 2.0, 0.5])},
    "smoothed": {"criterion__label_smoothing": 0.1},
}


def recorded(case):
    """The last step but one of a short training, the states around it."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 3)
    )
    settings = {"lr": 0.2, "rho": 0.1, "max_epochs": 2, "batch_size": 13} | CASES[case]
    clf = SAMClassifier(module, random_state=0, dtype="float64", trajectory="all", **settings)
    training = FunctionalTraining(problem_from_estimator(clf.fit(X, y, weight), X, y, weight))
    number = training.n_steps - 2
    states = [training.state(clf.trajectory_.states[i]) for i in (number, number + 1)]
    return training.step(number), *states, sorted(training.tracked)


def by_torch(step, state, tracked):
    """``torch.func.vjp`` of the whole step in vectors, statistics and row weights."""

    def whole_step(params, vectors, statistics, row_weights):
        vectors = iter(vectors)
        memory = tuple(next(vectors) if m.ndim else m for m in state.memory)
        after = step.after(TrainingState(params, state.buffers | statistics, memory), row_weights)
        moved = [m for m in after.memory if m.ndim]
        return after.params, moved, {name: after.buffers[name] for name in tracked}

    statistics = {name: state.buffers[name] for name in tracked}
    vectors, ones = [m for m in state.memory if m.ndim], torch.ones(len(step.batch.rows)).double()
    return torch.func.vjp(whole_step, state.params, vectors, statistics, ones)[1]


@pytest.mark.slow
@pytest.mark.parametrize("n_cotangents", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_the_product_is_that_of_reverse_mode(case, n_cotangents):
    step, state, reached, tracked = recorded(case)
    torch.manual_seed(1)
    cotangent = Cotangent(
        torch.randn(n_cotangents, len(state.params)).double(),
        {name: torch.randn(n_cotangents, 6).double() for name in tracked},
        tuple(torch.randn(n_cotangents, len(m)).double() if m.ndim else None for m in state.memory),
    )
    product, pull = step.vjp(state, cotangent), by_torch(step, state, tracked)
    torch.testing.assert_close(product.after.params, reached.params, atol=1e-9, rtol=0)
    torch.testing.assert_close(product.after.buffers, reached.buffers, atol=1e-12, rtol=0)
    for j in range(n_cotangents):
        memory = [part[j] for part in cotangent.memory if part is not None]
        pulled = pull((cotangent.params[j], memory, {n: cotangent.buffers[n][j] for n in tracked}))
        found = (
            product.before.params[j],
            [part[j] for part in product.before.memory if part is not None],
            {name: product.before.buffers[name][j] for name in tracked},
            read_off(step.batch, product.sensitivities, j),
        )
        torch.testing.assert_close(found, pulled, rtol=1e-9, atol=1e-11)


def read_off(batch, readings, j):
    """Derivative in the row weights, from what was read at the two passes."""
    problem, y = batch.problem, batch.problem.y[batch.rows]
    along = (problem.row_loss.along(r.output, r.tangents[j][:, :, None], y) for r in readings)
    return batch.shares * sum(along)[:, 0]


def test_entries_with_a_second_moment_of_zero_have_finite_products():
    """Empty pixels never have a gradient: Adam's root has an infinite slope at their 0."""
    dead = X.copy()
    dead[:, 0] = 0
    clf = SAMClassifier(
        optimizer=torch.optim.Adam, lr=0.02, random_state=0, dtype="float64", max_epochs=1,
        perturbation=PNorm(3), trajectory="all",
    ).fit(dead, y)  # fmt: skip
    training = FunctionalTraining(problem_from_estimator(clf, dead, y))
    state = training.state(clf.trajectory_.states[1])
    cotangent = Cotangent(torch.ones_like(state.params)[None], {})
    before = training.step(1).vjp(state, cotangent).before
    assert torch.isfinite(before.params).all()
    assert all(torch.isfinite(part).all() for part in before.memory if part is not None)
