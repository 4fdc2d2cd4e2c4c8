"""Automatic damping, against the spectrum of dense matrices and torch's own optimizers."""

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping

from sam_attribution.curvature import GaussNewton, SAMPoint, sam_jacobian
from sam_attribution.linalg import Direct
from sam_attribution.methods import HIF
from sam_attribution.methods._damping import inverse_horizon
from sam_attribution.problem import problem_from_estimator
from tests.models import fitted, fitted_problem


def eigenvalues(problem, variant="full"):
    return torch.linalg.eigvals(sam_jacobian(SAMPoint(problem), variant).to_dense())


def prepared_with_warning(problem, method=None):
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        return (method or HIF()).prepare(problem)


@pytest.mark.slow
def test_an_unstable_jacobian_gets_more_than_its_most_negative_eigenvalue():
    problem = fitted_problem("mlp", max_epochs=30)
    leftmost = float(eigenvalues(problem).real.min())
    assert -1.5 * leftmost > inverse_horizon(problem.path)
    diagnostics = prepared_with_warning(problem).diagnostics
    assert diagnostics["damping"] == pytest.approx(-1.5 * leftmost, rel=1e-6)
    assert "most negative real part" in diagnostics["damping_reason"]
    assert "shrunk" in diagnostics["scale"]


@pytest.mark.slow
def test_a_flat_jacobian_gets_one_over_the_time_of_training():
    problem = fitted_problem("mlp", max_epochs=30)
    diagnostics = prepared_with_warning(problem, HIF("fast", curvature="ggn")).diagnostics
    assert diagnostics["damping"] == pytest.approx(inverse_horizon(problem.path), rel=1e-9)


@pytest.mark.slow
def test_without_a_known_training_a_share_of_the_largest_eigenvalue():
    problem = fitted_problem("mlp", optimizer=torch.optim.RMSprop, lr=0.001)
    assert inverse_horizon(problem.path) is None
    values = eigenvalues(problem)
    expected = max(0.01 * float(values.abs().max()), -1.5 * float(values.real.min()))
    diagnostics = prepared_with_warning(problem).diagnostics
    assert diagnostics["damping"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer__momentum": 0.9}, {"optimizer__momentum": 0.8, "optimizer__nesterov": True}],
    ids=["plain", "momentum", "nesterov"],
)
def test_the_horizon_is_how_far_a_steady_unit_gradient_leads(settings):
    classifier, X, y, _ = fitted("mlp", **settings)
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    options = {name.removeprefix("optimizer__"): value for name, value in settings.items()}
    optimizer = torch.optim.SGD([weight], lr=classifier.lr, **options)
    for _ in classifier.trajectory_.schedule:
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    horizon = 1 / inverse_horizon(problem_from_estimator(classifier, X, y).path)
    assert horizon == pytest.approx(-weight.item(), rel=1e-12)


@pytest.mark.parametrize("callbacks", [[], [("clip", GradientNormClipping(0.2))]])
def test_the_horizon_of_adam_is_the_mean_over_what_moved(callbacks):
    settings = {"optimizer": torch.optim.Adam, "lr": 0.01, "callbacks": callbacks}
    classifier, X, y, _ = fitted("mlp", **settings)
    n_steps, inverse = classifier.trajectory_.n_steps, []
    clipped = [step.gradient_factor for step in classifier.trajectory_.schedule]
    assert (min(clipped) < 0.9) == bool(callbacks)
    for entries in classifier.optimizer_.state.values():
        root = (entries["exp_avg_sq"] / (1 - 0.999**n_steps)).sqrt() + 1e-8
        inverse.append((root * (1 - 0.9**n_steps) / (0.01 * sum(clipped))).flatten().detach())
    expected = float(np.concatenate(inverse).mean())
    found = inverse_horizon(problem_from_estimator(classifier, X, y).path)
    assert found == pytest.approx(expected, rel=1e-9)


def test_many_rows_are_sampled_for_the_spectrum_of_a_matrix_that_is_not_formed(monkeypatch):
    monkeypatch.setattr("sam_attribution.methods._hif.is_small", lambda size: False)
    monkeypatch.setattr("sam_attribution.methods._hif._SPECTRUM_ROWS", 25)
    problem = fitted_problem("mlp", max_epochs=30, module=torch.nn.Linear(6, 3))
    method = HIF("fast", curvature="ggn", solver=Direct())
    found = prepared_with_warning(problem, method).diagnostics
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:25]
    some = GaussNewton(problem, SAMPoint(problem).perturbed, rows).to_dense()
    largest = 40 / 25 * torch.linalg.eigvalsh(some).max()
    assert f"largest absolute value {largest:.2e}" in found["damping_reason"]
    assert found == prepared_with_warning(problem, method).diagnostics
    monkeypatch.setattr("sam_attribution.methods._hif._SPECTRUM_ROWS", 40)
    largest = eigenvalues(problem, "fast").abs().max()
    assert f"{largest:.2e}" in prepared_with_warning(problem, method).diagnostics["damping_reason"]
