"""HIF on networks, against dense matrices from autodiff."""

import numpy as np
import pytest
import torch

from sam_attribution.curvature import Hessian, SAMPoint, sam_jacobian
from sam_attribution.linalg import GMRES, Direct
from sam_attribution.methods import HIF
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries
from tests.models import fitted_problem, row_gradients


def queries_of(problem):
    groups = (torch.arange(10), torch.arange(5))
    return Queries(problem, -problem.X[:10], problem.y[:10], problem.row_loss.per_sample, groups)


def scores_of(problem, method):
    probes = method.prepare(problem).probes(queries_of(problem))
    return training_scores(problem, probes, given_only=True)


def dense_scores(problem, damping, selected=slice(None), curvature="hessian"):
    """<grad V, (J + damping)^-1 c_k> with everything materialised, full variant."""
    w, n = problem.params, len(problem.y)
    point = SAMPoint(problem, curvature)
    jacobian = sam_jacobian(point, "full").to_dense()[selected][:, selected]
    own = torch.arange(n), problem.y
    indirect = point.H_perturbed.to_dense() @ torch.func.jacrev(
        lambda g: problem.perturbation.eps(w, g, problem.rho)
    )(point.gradient)
    rows = row_gradients(problem, point.perturbed, problem.buffers)[own]
    rows = rows + row_gradients(problem, w, problem.buffers)[own] @ indirect.T
    share = (problem.weights / problem.weights.sum())[:, None]
    damped = jacobian + damping * torch.eye(len(jacobian), dtype=torch.float64)
    steps = torch.linalg.solve(damped, (share * rows)[:, selected].T)
    v = queries_of(problem).directions(w, problem.buffers)[selected]
    return steps.T @ v


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("perturbation", ["l2", "adaptive"])
@pytest.mark.parametrize("solver", [Direct(), GMRES(tol=1e-12, max_iter=1000, restart=400)])
def test_scores_equal_the_dense_formula(kind, perturbation, solver):
    problem = fitted_problem(
        kind, kind == "mlp", perturbation=perturbation, optimizer__weight_decay=0.01
    )
    found = scores_of(problem, HIF(damping=0.5, solver=solver))
    torch.testing.assert_close(found, dense_scores(problem, 0.5), rtol=1e-7, atol=1e-12)


@pytest.mark.slow
def test_with_many_rows_a_small_matrix_is_formed_for_many_columns_only(monkeypatch):
    monkeypatch.setattr("sam_attribution.methods._hif._FORMED_SIZE", 0)
    problem = fitted_problem("mlp", True, optimizer__weight_decay=0.01)
    prepared, expected = HIF(damping=0.5).prepare(problem), dense_scores(problem, 0.5)
    few = training_scores(problem, prepared.probes(queries_of(problem)), given_only=True)
    torch.testing.assert_close(few, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(few, expected, rtol=0, atol=1e-14)  # GMRES, to its tolerance
    queries = queries_of(problem)
    queries = Queries(problem, queries.X, queries.y, queries.evaluation, queries.groups * 5)
    many = training_scores(problem, prepared.probes(queries), given_only=True)
    torch.testing.assert_close(many, expected.repeat(1, 5), rtol=1e-7, atol=1e-12)


def products_of(problem, method, monkeypatch):
    """Products with the Hessian that preparing the method takes."""
    columns, matmat = [], Hessian.matmat
    monkeypatch.setattr(
        Hessian, "matmat", lambda self, X: columns.append(X.shape[1]) or matmat(self, X)
    )
    method.prepare(problem)
    return sum(columns)


@pytest.mark.parametrize(("solver", "is_formed"), [(GMRES(), False), (Direct(), True)])
def test_where_products_are_dear_a_matrix_is_formed_for_the_solver_that_asks_for_it(
    solver, is_formed, monkeypatch
):
    monkeypatch.setattr("sam_attribution.methods._hif._FORMED_SIZE", 0)
    problem = fitted_problem("mlp", True)
    size = len(problem.params)
    assert size > 128  # as many products as a solution takes are few
    products = products_of(problem, HIF(damping=0.5, solver=solver), monkeypatch)
    assert (products >= size) == is_formed


def test_the_whole_network_computes_the_products_of_its_head(monkeypatch):
    problem = fitted_problem("cnn", options={"parameters": "head"})
    head, n_rows = len(problem.selected), problem.n_rows
    monkeypatch.setattr("sam_attribution.methods._hif._FEW_PRODUCTS", 0)
    monkeypatch.setattr("sam_attribution.methods._hif._FORMED_SIZE", head * n_rows)
    assert products_of(problem, HIF(damping=0.5), monkeypatch) < head


@pytest.mark.slow
@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
def test_another_curvature_stands_for_every_hessian(curvature):
    problem = fitted_problem("mlp", True, optimizer__weight_decay=0.01)
    found = scores_of(problem, HIF(damping=0.5, curvature=curvature))
    expected = dense_scores(problem, 0.5, curvature=curvature)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-12)
    assert (found - dense_scores(problem, 0.5)).norm() > 0.01 * found.norm()


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["head", "*bias", ["*.weight"]])
def test_a_subset_of_parameters_uses_its_block_with_the_whole_perturbation(parameters):
    problem = fitted_problem("cnn", options={"parameters": parameters})
    found = scores_of(problem, HIF(damping=0.5))
    expected = dense_scores(problem, 0.5, problem.selected)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_unknown_parameter_names_are_refused():
    with pytest.raises(ValueError, match="patterns matching some of"):
        fitted_problem("cnn", options={"parameters": "tail*"})


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_matter(batch_size):
    whole = scores_of(fitted_problem("cnn"), HIF(damping=0.3))
    parts = scores_of(fitted_problem("cnn", options={"batch_size": batch_size}), HIF(damping=0.3))
    assert (whole - parts).abs().max() <= 1e-10 * whole.abs().max()


def test_damping_must_not_be_negative():
    with pytest.raises(ValueError, match="The 'damping' parameter of HIF"):
        HIF(damping=-1).prepare(fitted_problem("mlp"))


def test_decoupled_weight_decay_warns():
    adamw = {"optimizer": torch.optim.AdamW, "lr": 0.01}
    with pytest.warns(UserWarning, match="AdamW's decoupled weight decay"):
        HIF(damping=0.5).prepare(fitted_problem("mlp", **adamw))


@pytest.mark.parametrize("settings", [{"solver": "gmres"}, {"damping": "big"}, {"variant": "best"}])
def test_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match=f"The '{next(iter(settings))}' parameter of HIF"):
        HIF(**settings).prepare(fitted_problem("mlp"))


def test_gmres_without_convergence_warns_and_reports():
    problem = fitted_problem("mlp")
    prepared = HIF(damping=1e-6, solver=GMRES(max_iter=2, restart=2)).prepare(problem)
    with pytest.warns(UserWarning, match="stopped at a relative residual"):
        prepared.probes(queries_of(problem))
    assert prepared.diagnostics["residual"] > 1e-5
    assert np.isfinite(prepared.diagnostics["stationarity"])
