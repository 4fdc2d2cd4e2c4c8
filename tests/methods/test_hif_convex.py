"""HIF against softmax regressions that can be solved exactly, in float64, damping 0."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, event, given, note, settings
from hypothesis import strategies as st
from scipy.stats import linregress, pearsonr

from sam_attribution.curvature import SAMPoint, sam_jacobian
from sam_attribution.methods import HIF
from sam_attribution.methods._hif import adjoint_probes
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries
from tests.convex import SoftmaxRegression

VARIANTS = ("full", "fast", "paper")
any_problem = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
shapes = {
    "seed": st.integers(0, 10_000),
    "d": st.integers(1, 4),
    "n_classes": st.integers(2, 4),
    "weight_decay": st.floats(0.01, 0.3),
}


SIDES = slice(60), slice(60, None)


def effects_of_removal(convex, fresh, denominator):
    """Rise of the mean loss of fresh rows when each row goes and the others' sum is divided so."""
    n, w = len(convex.y), convex.minimiser()
    scaled = replace(convex, weight_decay=convex.weight_decay * denominator / n)
    roots, residuals = scaled.left_out_roots(w)
    assert residuals.max() < 1e-10
    ones = torch.ones(len(fresh.y), dtype=torch.float64)
    return torch.stack([fresh.mean_loss(root, ones) for root in roots]) - fresh.mean_loss(w, ones)


def test_fitting_the_other_rows_shifts_all_effects_alike():
    """Weight 0 keeps 1/n: who divides by n - 1 finds the same effects but for a constant."""
    both = SoftmaxRegression.draw(0, 120, 2, 2, rho=0.0, weight_decay=0.05, perturbation=None)
    convex, fresh = (replace(both, X=both.X[rows], y=both.y[rows]) for rows in SIDES)
    ours, theirs = (effects_of_removal(convex, fresh, denominator) for denominator in (60, 59))
    others = torch.arange(60) != 7
    alone = replace(convex, X=convex.X[others], y=convex.y[others])  # fitted without the row
    ones = torch.ones(60, dtype=torch.float64)
    rise = fresh.mean_loss(alone.minimiser(), ones) - fresh.mean_loss(convex.minimiser(), ones)
    torch.testing.assert_close(theirs[7], rise, rtol=1e-8, atol=1e-12)
    shift = theirs - ours
    assert shift.std() < 0.1 * ours.std()
    assert shift.mean().abs() > 3 * shift.std()
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] > 0.9999


def rows_as_columns(point, variant):
    """c_k of every row, shape (n_params, n), read off through the probes."""
    problem = point.problem
    identity = torch.eye(len(point.w), dtype=torch.float64)
    return training_scores(problem, adjoint_probes(point, variant, identity), given_only=True).T


def removal_steps(problem, variant):
    """Predicted w_{-k} - w of every row, shape (n_params, n)."""
    point = SAMPoint(problem)
    jacobian = sam_jacobian(point, variant).to_dense()
    return torch.linalg.solve(jacobian, rows_as_columns(point, variant))


def fixed_point(convex, p):
    """A trained point; draws without one are discarded and counted as events."""
    radius = float(convex.largest_radius(p))
    event(f"rho below half of rho_max: {convex.rho < radius / 2}")
    assume(convex.rho < radius / 2)
    w = convex.root(convex.minimiser(), convex.ones())
    residual = float(convex.sam_gradient(w, convex.ones()).norm())
    event(f"root found: {residual <= 1e-10}")
    assume(residual <= 1e-10)
    return w


@pytest.mark.slow
@pytest.mark.parametrize(
    "perturbation", [PNorm(1.5), PNorm(2), PNorm(3), PNorm(math.inf), Adaptive()], ids=repr
)
@given(n=st.integers(3, 40), rho=st.floats(0.01, 1.0), **shapes)
@any_problem
def test_jacobian_and_row_terms_equal_autodiff_anywhere(
    perturbation, seed, n, d, n_classes, rho, weight_decay
):
    convex = SoftmaxRegression.draw(seed, n, d, n_classes, rho, weight_decay, perturbation)
    w = torch.randn(convex.n_params, generator=torch.Generator().manual_seed(seed)).double()
    assume(torch.func.grad(convex.mean_loss)(w, convex.ones()).abs().min() > 1e-6)
    point = SAMPoint(convex.problem(w, batch_size=7))
    jacobian = torch.func.jacrev(convex.sam_gradient, 0)(w, convex.ones())
    rows = torch.func.jacrev(convex.sam_gradient, 1)(w, convex.ones())
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(sam_jacobian(point, "full").to_dense(), jacobian, **close)
    torch.testing.assert_close(sam_jacobian(point, "full").T.to_dense(), jacobian.T, **close)
    torch.testing.assert_close(rows_as_columns(point, "full"), rows, **close)


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_scores_are_the_derivative_of_the_solved_root(p):
    compared = []

    @given(n=st.integers(20, 60), fraction=st.floats(0.05, 0.49), **shapes)
    @any_problem
    def one_problem(seed, n, d, n_classes, weight_decay, fraction):
        compared.append(check_derivative(p, seed, n, d, n_classes, weight_decay, fraction))

    one_problem()
    assert len(compared) >= 10  # how many problems had a root to compare with


def check_derivative(p, seed, n, d, n_classes, weight_decay, fraction):
    """One score against the central difference of the re-solved root."""
    convex = SoftmaxRegression.draw(seed, n, d, n_classes, 0.0, weight_decay, PNorm(p))
    convex.rho = fraction * float(convex.largest_radius(p))
    assume(0.01 <= convex.rho <= 1)
    w = fixed_point(convex, p)
    problem = convex.problem(w)
    X_val, y_val = -convex.X[:10], convex.y[:10]
    queries = Queries(problem, X_val, y_val, problem.row_loss.per_sample, (torch.arange(10),))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the SAM Jacobian")  # the default damping must be 0
        scores = training_scores(problem, HIF().prepare(problem).probes(queries), given_only=True)
    k, h = seed % n, 1e-4
    shifted = []
    for sign in (1, -1):
        s = convex.ones()
        s[k] += sign * h
        shifted.append(convex.root(w, s))
    values = [queries.values(v, {})[0] for v in shifted]
    derivative = float(values[0] - values[1]) / (2 * h)
    scale = float(scores.abs().max())
    note(f"score {float(scores[k, 0])}, minus derivative {-derivative}")
    assert abs(float(scores[k, 0]) + derivative) <= 1e-6 * scale


@pytest.mark.slow
def test_scores_and_steps_agree_with_exact_leave_one_out():
    """Scores of every problem; and over all problems ``full`` has the smallest step error."""
    errors = {variant: [] for variant in VARIANTS}

    @given(
        seed=st.integers(0, 10_000),
        d=st.integers(1, 3),
        n_classes=st.integers(2, 3),
        extra=st.integers(0, 100),
        rho=st.floats(0.01, 0.2),
        weight_decay=st.floats(0.01, 0.2),
    )
    @any_problem
    def one_problem(seed, d, n_classes, extra, rho, weight_decay):
        n = max(200, 25 * (d + 1) * (n_classes - 1)) + extra
        convex = SoftmaxRegression.draw(seed, n, d, n_classes, rho, weight_decay, PNorm(2))
        w = fixed_point(convex, 2)
        left_out, residuals = convex.left_out_roots(w)
        assume(residuals.max() <= 1e-10)
        problem = convex.problem(w)
        check_scores(convex, problem, left_out, seed)
        exact = (left_out - w).T
        for variant in VARIANTS:
            difference = (removal_steps(problem, variant) - exact).norm(dim=0)
            errors[variant].append(float((difference / exact.norm(dim=0)).mean()))

    one_problem()
    assert len(errors["full"]) >= 10  # how many problems had roots to compare with
    means = {variant: np.mean(values) for variant, values in errors.items()}
    assert means["full"] < min(means["fast"], means["paper"]), means


def check_scores(convex, problem, left_out, seed):
    """Pearson and slope of the exact leave-one-out values on the scores."""
    fresh = SoftmaxRegression.draw(
        seed + 1, 100, convex.X.shape[1], convex.n_classes, 0.0, 0.1, PNorm(2)
    )
    queries = Queries(problem, fresh.X, fresh.y, problem.row_loss.per_sample, (torch.arange(100),))
    probes = HIF().prepare(problem).probes(queries)
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    values = torch.stack([queries.values(v, {})[0] for v in left_out])
    truth = values - queries.values(problem.params, {})[0]
    assert pearsonr(scores, truth).statistic >= 0.99
    assert 0.9 <= linregress(scores, truth).slope <= 1.1


@pytest.mark.slow
@given(n=st.integers(3, 40), rho=st.floats(0.01, 1.0), **shapes)
@any_problem
def test_variants_are_one_for_the_inf_norm(seed, n, d, n_classes, rho, weight_decay):
    convex = SoftmaxRegression.draw(seed, n, d, n_classes, rho, weight_decay, PNorm(math.inf))
    w = torch.randn(convex.n_params, generator=torch.Generator().manual_seed(seed)).double()
    point = SAMPoint(convex.problem(w))
    full, fast, paper = (
        (sam_jacobian(point, variant).to_dense(), rows_as_columns(point, variant))
        for variant in VARIANTS
    )
    for ours, other in zip(full + full, fast + paper, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-12)


def test_rho_changes_the_scores_and_rho_zero_is_the_plain_influence_function():
    convex = SoftmaxRegression.draw(0, 60, 3, 3, 0.1, 0.05, PNorm(2))
    w = convex.root(convex.minimiser(), convex.ones())
    plain = SoftmaxRegression.draw(0, 60, 3, 3, 0.0, 0.05, PNorm(2))
    hessian = torch.func.hessian(plain.mean_loss)(w, plain.ones())
    hessian = hessian + 0.05 * torch.eye(plain.n_params, dtype=torch.float64)
    rows = torch.func.jacrev(plain.sam_gradient, 1)(w, plain.ones())
    influence_function = torch.linalg.solve(hessian, rows)
    for variant in VARIANTS:
        at_zero = removal_steps(plain.problem(w), variant)
        torch.testing.assert_close(at_zero, influence_function, rtol=1e-9, atol=1e-12)
        with_sam = removal_steps(convex.problem(w), variant)
        assert (with_sam - influence_function).norm() > 0.01 * influence_function.norm()
