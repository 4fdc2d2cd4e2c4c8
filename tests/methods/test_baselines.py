"""The methods that know nothing of SAM, against their formulas written out."""

import numpy as np
import pytest
import torch

from sam_attribution.curvature import CURVATURES, SAMPoint
from sam_attribution.linalg import CG, GMRES
from sam_attribution.methods import GIF, GradDot, InfluenceFunction, TracIn
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries, problem_from_estimator
from tests.models import fitted, fitted_problem, given_gradients, row_losses

KINDS = ["mlp", "regression"]


def setting(kind="mlp", **settings):
    classifier, X, y, _ = fitted(kind, trajectory="all", **settings)
    problem = problem_from_estimator(classifier, X, y)
    groups = (torch.arange(10), torch.arange(4))
    per_sample = problem.row_loss.per_sample
    return (
        classifier,
        problem,
        Queries(problem, -problem.X[:10], problem.y[:10], per_sample, groups),
    )


def scores_of(method, problem, queries):
    return training_scores(problem, method.prepare(problem).probes(queries), given_only=True)


def gradients_at(problem, w):
    return given_gradients(problem, w, problem.buffers)


@pytest.mark.parametrize("kind", KINDS)
def test_grad_dot_is_the_product_of_final_gradients(kind):
    _, problem, queries = setting(kind)
    expected = gradients_at(problem, problem.params) @ queries.directions(problem.params, {}) / 40
    torch.testing.assert_close(scores_of(GradDot(), problem, queries), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_checkpoints", [3, None])
def test_tracin_is_the_sum_of_products_at_unperturbed_states(n_checkpoints, kind):
    classifier, problem, queries = setting(kind)
    expected = torch.zeros(40, 2, dtype=torch.float64)
    states = classifier.trajectory_.states
    if n_checkpoints is None:
        for t, step in enumerate(classifier.trajectory_.schedule):
            w, rows = states[t].params, step.indices
            product = gradients_at(problem, w) @ queries.directions(w, {})
            expected[rows] += 0.1 * product[rows] / len(rows)
    else:
        for middle in (2, 7, 12):
            w = states[middle].params
            expected += 0.5 * gradients_at(problem, w) @ queries.directions(w, {}) / 40
    found = scores_of(TracIn(n_checkpoints=n_checkpoints), problem, queries)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    with_sam = scores_of(GIF(query="checkpoint", n_checkpoints=n_checkpoints), problem, queries)
    assert (with_sam - found).norm() > 1e-3 * found.norm()


@pytest.mark.slow
@pytest.mark.parametrize("n_checkpoints", [3, None])
def test_tracin_where_sam_takes_gradients_is_gif_of_checkpoints(n_checkpoints):
    _, problem, queries = setting()
    settings = {"n_checkpoints": n_checkpoints}
    gif = scores_of(GIF(query="checkpoint", **settings), problem, queries)
    assert torch.equal(scores_of(TracIn(at="w+eps", **settings), problem, queries), gif)
    plain = scores_of(TracIn(**settings), problem, queries)
    assert not torch.allclose(plain, gif, rtol=1e-3)


def test_tracin_equals_gif_at_rho_zero():
    _, problem, queries = setting(rho=0.0)
    found = scores_of(TracIn(), problem, queries)
    assert torch.equal(found, scores_of(GIF(query="checkpoint"), problem, queries))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_influence_function_solves_with_the_plain_hessian(kind):
    _, problem, queries = setting(kind, optimizer__weight_decay=0.05)
    w = problem.params

    def mean_loss(w):
        return row_losses(problem, problem.logits(w, {}, problem.X), problem.y).mean()

    hessian = torch.func.jacrev(torch.func.grad(mean_loss))(w)
    damped = hessian + (0.05 + 0.4) * torch.eye(len(w), dtype=torch.float64)
    directions = torch.linalg.solve(damped, queries.directions(w, {}))
    expected = gradients_at(problem, w) @ directions / 40
    found = scores_of(InfluenceFunction(damping=0.4), problem, queries)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-12)
    assert np.isfinite(InfluenceFunction(damping=0.4).prepare(problem).diagnostics["stationarity"])
    by_gmres = InfluenceFunction(damping=0.4, solver=GMRES(tol=1e-10, restart=60))
    torch.testing.assert_close(
        scores_of(by_gmres, problem, queries), expected, rtol=1e-7, atol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("at", ["w", "w+eps"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_influence_function_solves_with_the_empirical_fisher_matrix(kind, at):
    _, problem, queries = setting(kind)
    point = SAMPoint(problem).perturbed if at == "w+eps" else problem.params
    rows = gradients_at(problem, point)
    damped = rows.T @ rows / 40 + 0.4 * torch.eye(rows.shape[1], dtype=torch.float64)
    v = queries.directions(problem.params, {})
    method = InfluenceFunction(damping=0.4, curvature="fisher", at=at)
    expected = rows @ torch.linalg.solve(damped, v) / 40
    torch.testing.assert_close(scores_of(method, problem, queries), expected)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["all", "*.weight", "head"])
@pytest.mark.parametrize("curvature", ["hessian", "ggn", "fisher"])
def test_blocks_leave_out_what_couples_the_layers(curvature, parameters):
    problem = fitted_problem(
        "cnn", options={"parameters": parameters}, optimizer__weight_decay=0.05
    )
    queries = Queries(
        problem, -problem.X[:10], problem.y[:10], problem.row_loss.per_sample, (torch.arange(10),)
    )
    size = problem.layout.size
    selected = torch.arange(size) if problem.selected is None else problem.selected
    layer = torch.tensor(
        [number for number, each in enumerate([40, 8, 51]) for _ in range(each)]
    )  # Conv, BatchNorm, Linear
    whole = CURVATURES[curvature](problem, problem.params).to_dense()
    damped = whole * (layer[:, None] == layer) + 0.45 * torch.eye(size, dtype=torch.float64)
    v = queries.directions(problem.params, problem.buffers)[selected]
    rows = gradients_at(problem, problem.params)[:, selected]
    expected = rows @ torch.linalg.solve(damped[selected][:, selected], v) / 40
    solvers = ("auto", CG(tol=1e-11, max_iter=5000)) if curvature != "hessian" else ("auto",)
    for solver in solvers:
        method = InfluenceFunction(damping=0.4, curvature=curvature, blocks="layer", solver=solver)
        torch.testing.assert_close(scores_of(method, problem, queries), expected)
    together = InfluenceFunction(damping=0.4, curvature=curvature)
    off = (scores_of(together, problem, queries) - expected).norm()
    assert off < 1e-9 if parameters == "head" else off > 0.01 * expected.norm()


def test_blocks_are_refused_by_name():
    _, problem, _ = setting()
    with pytest.raises(ValueError, match="'blocks' parameter of InfluenceFunction must be"):
        InfluenceFunction(blocks="row").prepare(problem)
    with pytest.raises(ValueError, match="blocks must be one of"):
        SAMPoint(problem, blocks="row")
