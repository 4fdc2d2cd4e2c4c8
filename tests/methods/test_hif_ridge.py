"""HIF of a regression against exact leave-one-out: closed form without SAM, Newton with it."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from sam_attribution.curvature import VARIANTS
from sam_attribution.methods import HIF
from sam_attribution.perturbation import PNorm
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries
from tests.convex import RidgeRegression

SEEDS = range(4)


def two_problems(seed, n, d, weight_decay):
    """One to solve, and one to judge by, whose gradient at the solution is not nearly zero."""
    settings = (d, 0.0, weight_decay, PNorm(2))
    first = RidgeRegression.draw(seed, n, *settings)
    return first, RidgeRegression.draw(seed + 1000, 250, *settings)


def scores_of(convex, w, fresh, variant="full"):
    """HIF scores against the mean squared error of rows of the same kind."""
    problem = convex.problem(w, batch_size=17)
    everyone = (torch.arange(len(fresh.y)),)
    queries = Queries(problem, fresh.X, fresh.y, problem.row_loss.evaluated, everyone)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the SAM Jacobian")  # the default damping must be 0
        probes = HIF(variant).prepare(problem).probes(queries)
    return training_scores(problem, probes, given_only=True)[:, 0]


def value(convex, w, fresh):
    return ((convex.logits(w, fresh.X)[:, 0] - fresh.y) ** 2).mean()


def ridge(X, y, n, weight_decay):
    """Minimiser of ``sum (y - Xw - b)^2 / n + weight_decay |w|^2 / 2``, bias included."""
    A = torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], dim=1)
    decay = weight_decay / 2 * torch.eye(A.shape[1], dtype=X.dtype)
    return torch.linalg.solve(A.T @ A / n + decay, A.T @ y / n)


def leverages(convex):
    """Share that each row has in its own prediction, without SAM."""
    A = torch.cat([convex.X, torch.ones(len(convex.X), 1, dtype=torch.float64)], dim=1)
    decay = convex.weight_decay / 2 * torch.eye(A.shape[1], dtype=torch.float64)
    return (A * torch.linalg.solve(A.T @ A / len(A) + decay, A.T).T).sum(1) / len(A)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_without_sam_against_the_closed_form(seed):
    convex, fresh = two_problems(seed, 200, 4, 0.05)
    w = ridge(convex.X, convex.y, 200, 0.05)
    assert convex.sam_gradient(w, convex.ones()).norm() < 1e-12
    kept = [torch.arange(200) != k for k in range(200)]
    left_out = torch.stack([ridge(convex.X[rows], convex.y[rows], 200, 0.05) for rows in kept])
    scores = scores_of(convex, w, fresh)
    truth = torch.stack([value(convex, v, fresh) for v in left_out]) - value(convex, w, fresh)
    check(scores, truth)
    # along the gradient of the value, a row's leverage is all that the score leaves out
    along = (left_out - w) @ torch.func.grad(lambda v: value(convex, v, fresh))(w)
    torch.testing.assert_close(scores / (1 - leverages(convex)), along, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_with_sam_against_the_solved_roots(seed):
    convex, fresh = two_problems(seed, 200, 4, 0.05)
    convex.rho = 0.4 * float(convex.largest_radius(2))
    w = convex.root(convex.minimiser(), convex.ones())
    assert convex.sam_gradient(w, convex.ones()).norm() < 1e-10
    left_out, residuals = convex.left_out_roots(w)
    assert residuals.max() < 1e-10
    truth = torch.stack([value(convex, v, fresh) for v in left_out]) - value(convex, w, fresh)
    check(scores_of(convex, w, fresh), truth)
    found = {variant: scores_of(convex, w, fresh, variant) for variant in VARIANTS}
    errors = {variant: float((scores - truth).norm()) for variant, scores in found.items()}
    assert errors["full"] < errors["fast"], errors  # the perturbation counts


def check(scores, truth):
    assert np.corrcoef(scores, truth)[0, 1] >= 0.99
    assert 0.9 <= linregress(scores, truth).slope <= 1.1


def test_scores_are_the_derivative_of_the_solved_root():
    convex, fresh = two_problems(0, 40, 3, 0.1)
    convex.rho = 0.3 * float(convex.largest_radius(2))
    w = convex.root(convex.minimiser(), convex.ones())
    scores = scores_of(convex, w, fresh)
    for k, h in ((0, 1e-4), (7, 1e-4), (39, 1e-4)):
        values = []
        for sign in (1, -1):
            s = convex.ones()
            s[k] += sign * h
            values.append(value(convex, convex.root(w, s), fresh))
        derivative = float(values[0] - values[1]) / (2 * h)
        assert abs(float(scores[k]) + derivative) <= 1e-6 * float(scores.abs().max())
