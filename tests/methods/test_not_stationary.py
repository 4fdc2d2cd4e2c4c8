"""The correction for trained parameters that are no fixed point."""

import pytest
import torch

from sam_attribution.methods import HIF, InfluenceFunction
from tests.methods.test_hif import queries_of, scores_of
from tests.methods.test_hif_ridge import ridge, two_problems
from tests.models import fitted_problem

GROUPS = [torch.tensor([3]), torch.tensor([0, 7])]


def exact_steps(convex, n, weight_decay):
    """First-order moves of the minimum, ``J^-1 sum of c_k``, written out for a ridge regression."""
    w = ridge(convex.X, convex.y, n, weight_decay)
    A = torch.cat([convex.X, torch.ones(n, 1, dtype=torch.float64)], dim=1)
    jacobian = 2 * A.T @ A / n + weight_decay * torch.eye(A.shape[1], dtype=torch.float64)
    gradients = 2 * (A @ w - convex.y)[:, None] * A / n
    return torch.stack([torch.linalg.solve(jacobian, gradients[rows].sum(0)) for rows in GROUPS])


@pytest.mark.parametrize("method", [HIF, InfluenceFunction])
def test_a_quadratic_half_trained_gives_the_steps_of_its_minimum(method):
    convex, _ = two_problems(0, 60, 4, 0.05)
    half_trained = 0.5 * ridge(convex.X, convex.y, 60, 0.05)
    problem, expected = convex.problem(half_trained), exact_steps(convex, 60, 0.05)
    corrected = method(stationary=False).prepare(problem).removal_step(GROUPS).params
    torch.testing.assert_close(corrected, expected, rtol=1e-10, atol=1e-12)
    plain = method().prepare(problem).removal_step(GROUPS).params
    assert (plain - expected).norm() > 0.1 * expected.norm()


def test_at_a_fixed_point_nothing_changes():
    convex, _ = two_problems(0, 60, 4, 0.05)
    problem = convex.problem(ridge(convex.X, convex.y, 60, 0.05))
    corrected, plain = (
        HIF(stationary=which).prepare(problem).removal_step(GROUPS).params
        for which in (False, True)
    )
    torch.testing.assert_close(corrected, plain, rtol=1e-9, atol=1e-12)


def test_a_network_gains_the_change_of_row_gradients_along_the_step():
    problem, damping = fitted_problem("mlp", True, rho=0.1), 1000.0
    buffers, X, y = problem.buffers, problem.X, problem.y

    def row_gradients(w):
        mean_gradient = torch.func.grad(
            lambda v: problem.weighted_loss(v, buffers, torch.arange(len(y))) / problem.total_weight
        )
        point = w + problem.perturbation.eps(w, mean_gradient(w), problem.rho)
        return torch.func.jacrev(
            lambda v: problem.row_loss.per_sample(problem.logits(v, buffers, X), y)
        )(point)

    method = HIF("fast", damping=damping)
    prepared = method.prepare(problem)
    sam_gradient = prepared._points.sam_gradient()
    step = -prepared.solve(sam_gradient[:, None])[:, 0]
    change = torch.func.jvp(row_gradients, (problem.params,), (step,))[1]
    u = prepared.solve(queries_of(problem).directions(problem.params, buffers))
    expected = (problem.weights / problem.total_weight)[:, None] * (change @ u)
    gained = scores_of(problem, HIF("fast", damping=damping, stationary=False)) - scores_of(
        problem, method
    )
    assert (gained - expected).norm() < 1e-3 * expected.norm()
