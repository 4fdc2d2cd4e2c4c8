"""Norms of row gradients against explicit gradients, and the probes that read them."""

import pytest
import torch
from torch import nn

from sam_attribution.probes import CosineProbe, SquaredNormProbe, training_scores
from sam_attribution.probes import _row_norms as row_norms
from sam_attribution.probes._row_norms import (
    jacobians_row_by_row,
    measured_rows,
    squared_row_norms,
)
from sam_attribution.problem import Problem
from tests.models import fitted_problem, given_gradients, row_gradients
from tests.probes.test_modes import MODULES, problem_of
from tests.probes.test_scores import random_probe

EXACT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("parameters", ["all", "head", "*bias"])
@pytest.mark.parametrize("with_metric", [False, True])
def test_squared_norms_are_those_of_explicit_gradients(kind, parameters, with_metric):
    problem = fitted_problem(kind, options={"parameters": parameters})
    probe = random_probe(problem)
    metric = probe.directions[:, 0].abs() if with_metric else None
    gradients = row_gradients(problem, probe.point, problem.buffers)
    weights = torch.ones_like(probe.point) if metric is None else metric
    expected = (gradients.square() * problem.restrict(weights[:, None])[:, 0]).sum(2)
    torch.testing.assert_close(
        squared_row_norms(problem, probe, problem.X, metric), expected, **EXACT
    )
    found = squared_row_norms(problem, probe, problem.X, metric, problem.y)
    given = expected[torch.arange(len(problem.y)), problem.y]
    torch.testing.assert_close(found[:, 0], given, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("parameters", ["all", "head", "*bias"])
def test_any_measure_of_a_gradient_sees_the_attributed_part(kind, parameters, monkeypatch):
    problem = fitted_problem(kind, options={"parameters": parameters})
    probe, size = random_probe(problem), problem.layout.size
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).double()
    gradients = row_gradients(problem, probe.point, problem.buffers).flatten(0, 1)
    expected = (problem.restrict(gradients.T) * (matrix @ problem.restrict(gradients.T))).sum(0)
    expected = expected.view(len(problem.y), 3)

    def measure(columns):
        return (columns * (matrix @ columns)).sum(0)

    for rows in (100, 7):
        monkeypatch.setattr(row_norms, "_BYTES", rows * 3 * size * 8)
        found = measured_rows(problem, probe, problem.X, measure)
        torch.testing.assert_close(found, expected, **EXACT)
    found = measured_rows(problem, probe, problem.X, measure, problem.y)
    given = expected[torch.arange(len(problem.y)), problem.y]
    torch.testing.assert_close(found[:, 0], given, **EXACT)


@pytest.mark.parametrize("parameters", ["all", "head", "*bias"])
def test_squared_norms_of_rows_with_targets(parameters):
    problem = fitted_problem("regression", options={"parameters": parameters})
    probe = random_probe(problem)
    gradients = problem.restrict(given_gradients(problem, probe.point, {}).T).T
    found = squared_row_norms(problem, probe, problem.X, y=problem.y)
    torch.testing.assert_close(found[:, 0], gradients.square().sum(1), **EXACT)
    cosine = CosineProbe(probe.point, problem.restrict(probe.directions), probe.buffers)
    expected = torch.nn.functional.cosine_similarity(gradients[..., None], cosine.directions, dim=1)
    expected = expected * cosine.directions.norm(dim=0)
    torch.testing.assert_close(
        training_scores(problem, [cosine], given_only=True), expected, **EXACT
    )


@pytest.mark.parametrize("name", ["attention", "lstm", "no forward mode", "no second derivative"])
def test_modules_of_many_kinds(name):
    problem = problem_of(MODULES[name][0])
    probe = random_probe(problem)
    gradients = row_gradients(problem, probe.point, problem.buffers)
    found = squared_row_norms(problem, probe, problem.X)
    torch.testing.assert_close(found, gradients.square().sum(2), **EXACT)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_at_once", [1, 2, 3, 7])
def test_a_module_that_torch_confuses_for_as_many_rows_as_classes(
    n_classes, n_at_once, monkeypatch
):
    torch.manual_seed(0)
    hidden, X = nn.Linear(4, 5), torch.randn(7, 4).double()
    module = nn.Sequential(hidden, nn.PReLU(5, init=0.4), nn.Linear(5, n_classes)).double()
    y = torch.arange(7) % n_classes
    problem = Problem(module=module.eval(), X=X, y=y, n_classes=n_classes)
    probe = random_probe(problem)
    expected = row_gradients(problem, probe.point, problem.buffers).square().sum(2)
    monkeypatch.setattr(row_norms, "_BYTES", n_at_once * n_classes * problem.layout.size * 8)
    torch.testing.assert_close(squared_row_norms(problem, probe, problem.X), expected, **EXACT)


def test_both_ways_agree_for_any_chunk(monkeypatch):
    problem = fitted_problem("cnn")
    probe = random_probe(problem)
    expected = squared_row_norms(problem, probe, problem.X)
    bytes_per_row = 3 * problem.layout.size * 8
    for rows in (1, 7):
        monkeypatch.setattr(row_norms, "_BYTES", rows * bytes_per_row)
        torch.testing.assert_close(squared_row_norms(problem, probe, problem.X), expected, **EXACT)
    monkeypatch.setitem(row_norms._WAYS.chosen, problem, jacobians_row_by_row)
    torch.testing.assert_close(squared_row_norms(problem, probe, problem.X), expected, **EXACT)


def test_cosines_have_no_scale_and_no_weights():
    problem = fitted_problem("mlp", sample_weight=True)
    probe = random_probe(problem)
    gradients = row_gradients(problem, probe.point, problem.buffers)
    expected = torch.nn.functional.cosine_similarity(
        gradients[..., None], probe.directions, dim=2
    ) * probe.directions.norm(dim=0)
    cosine = CosineProbe(probe.point, probe.directions, probe.buffers)
    torch.testing.assert_close(training_scores(problem, [cosine]), expected, **EXACT)


def test_a_row_without_gradient_has_cosine_zero():
    problem = fitted_problem("mlp")
    flat = torch.zeros_like(problem.params)
    flat[-3:] = torch.tensor([800.0, 0.0, 0.0])  # biases that leave no doubt about label 0
    probe = CosineProbe(flat, torch.ones_like(flat)[:, None], problem.buffers)
    table = training_scores(problem, [probe])[:, :, 0]
    assert (table[:, 0] == 0).all()
    assert torch.isfinite(table).all()


def test_squared_norms_have_the_share_of_the_row():
    problem = fitted_problem("mlp", sample_weight=True)
    probe = random_probe(problem)
    ones = torch.ones_like(probe.point)[:, None]
    square = SquaredNormProbe(probe.point, ones, probe.buffers, rate=0.3)
    squares = row_gradients(problem, probe.point, problem.buffers).square().sum(2)
    expected = 0.3 * squares * (problem.weights / problem.weights.sum())[:, None]
    torch.testing.assert_close(training_scores(problem, [square])[..., 0], expected, **EXACT)


def test_some_rows_are_scored_as_among_all():
    problem = fitted_problem("mlp")
    rows = torch.tensor([3, 30, 7])
    probes = [random_probe(problem), random_probe(problem, rows=rows[:2], rows_weight=2.0)]
    chosen = torch.tensor([7, 12, 3])
    everyone = training_scores(problem, probes)
    torch.testing.assert_close(training_scores(problem, probes, rows=chosen), everyone[chosen])
