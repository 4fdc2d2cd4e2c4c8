"""Metasmoothness and prediction errors, against what is known of the run."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.diagnosis import (
    metasmoothness,
    prediction_errors,
    recorded_scores,
    unrolled_scores,
)
from sam_attribution.problem import (
    FunctionalRun,
    FunctionalTraining,
    Queries,
    evaluation_function,
    problem_from_estimator,
)
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.training import SAMRegressor
from tests.models import SmallCNN, fitted_problem, tabular

X_val, y_val, _ = tabular(30, seed=5)


def queries_of(problem, X=X_val, y=y_val, groups=None, normalize=False):
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    groups = groups or (torch.arange(len(y)),)
    loss = evaluation_function("loss", problem.row_loss)
    return Queries(problem, X.to(problem.params.dtype), y, loss, groups, normalize)


def network(activation, n_hidden=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, n_hidden), activation(), nn.Linear(n_hidden, 3))


def convex(**settings):
    torch.manual_seed(0)
    return fitted_problem("mlp", module=nn.Linear(6, 3), lr=0.1, **settings)


def rough(**settings):
    """ReLU, far too large a rate: the smallest change ends somewhere else."""
    options = {"lr": 0.3, "max_epochs": 10, "optimizer__momentum": 0.9} | settings
    return fitted_problem("mlp", module=network(nn.ReLU), **options)


@pytest.mark.slow
@pytest.mark.parametrize("nearby", ["weights", "starts"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_metasmoothness_of_a_convex_run_is_one(nearby, momentum):
    problem = convex(optimizer__momentum=momentum, rho=0.02, batch_size=-1)
    assert metasmoothness(problem, queries_of(problem), nearby=nearby) == pytest.approx(1, abs=1e-3)


def test_prediction_holds_on_a_convex_run():
    problem = convex(rho=0.02, batch_size=-1)
    queries = queries_of(problem)
    errors = prediction_errors(problem, queries, recorded_scores(problem, queries))
    assert errors.linearity_error < 0.03
    assert errors.roughness < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("nearby", ["weights", "starts"])
def test_metasmoothness_of_a_rough_run_is_low(nearby):
    problem = rough()
    assert metasmoothness(problem, queries_of(problem), nearby=nearby) < 0.5


@pytest.mark.slow
def test_prediction_fails_on_a_rough_run():
    problem = rough()
    queries = queries_of(problem)
    errors = prediction_errors(problem, queries, recorded_scores(problem, queries))
    assert errors.linearity_error > 0.5
    assert errors.roughness > 0.9


def test_wrong_scores_are_found_out():
    problem = convex(rho=0.02, batch_size=-1)
    queries = queries_of(problem)
    scores = recorded_scores(problem, queries)
    assert prediction_errors(problem, queries, 2 * scores).roughness == pytest.approx(0.5, abs=0.01)
    assert prediction_errors(problem, queries, -scores).roughness == pytest.approx(2, abs=0.03)
    assert prediction_errors(problem, queries, 0 * scores) == (0, 0)


def test_queries_of_length_one_are_predicted_in_their_unit():
    problem = convex(rho=0.02, batch_size=-1)
    groups = tuple(torch.as_tensor(np.flatnonzero(y_val == label)) for label in range(3))
    queries = queries_of(problem, groups=groups, normalize=True)
    errors = prediction_errors(problem, queries, recorded_scores(problem, queries))
    assert errors.linearity_error < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n_epochs", [60, 150])  # to an infinite loss, and to weights of NaN
def test_a_training_that_diverges_is_no_prediction(n_epochs):
    """One row, one weight: a step shrinks the error to -.9 of it, with the row twice to -2.8."""
    row, target = np.ones((1, 1)), np.ones(1)
    module = nn.Linear(1, 1, bias=False)
    settings = {"lr": 0.95, "rho": 0.0, "max_epochs": n_epochs, "batch_size": -1, "verbose": 0}
    regressor = SAMRegressor(module, dtype="float32", random_state=0, **settings).fit(row, target)
    problem = problem_from_estimator(regressor, row, target)
    queries = queries_of(problem, row + 1, target)
    scores = torch.ones(1, 1)
    assert prediction_errors(problem, queries, scores) == (np.inf, np.inf)


def test_an_unknown_neighbour_is_named():
    problem = convex()
    with pytest.raises(ValueError, match=r"nearby must be one of \['starts', 'weights'\]"):
        metasmoothness(problem, queries_of(problem), nearby="rows")


RUNS = {
    "momentum": {"optimizer__momentum": 0.9},
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.02},
    "weighted": {"sample_weight": True},
    "cnn": {"kind": "cnn", "module": SmallCNN},
}


def smooth_problem(name):
    options = {"kind": "mlp", "module": network(nn.Tanh), "max_epochs": 2} | RUNS[name]
    return fitted_problem(options.pop("kind"), **options)


def queries_for(problem, name):
    return (
        queries_of(problem, problem.X[:9], problem.y[:9]) if name == "cnn" else queries_of(problem)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_where_training_went(name):
    problem = smooth_problem(name)
    run = FunctionalRun(FunctionalTraining(problem))
    torch.testing.assert_close(run.final().params, problem.params, rtol=1e-9, atol=1e-9)
    forwards = [each.state for each in run.states(0, run.n_steps)]
    backwards = list(run.backwards())
    assert len(backwards) == run.n_steps + 1
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(one.params, other.params)
        assert all(torch.equal(one.buffers[name], other.buffers[name]) for name in one.buffers)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_without_a_row_is_retraining(name):
    problem = smooth_problem(name)
    queries = queries_for(problem, name)
    weights = torch.ones(len(problem.y), dtype=torch.float64)
    weights[3] = 0
    after = FunctionalRun(FunctionalTraining(problem, weights)).final()
    rise = queries.values(after.params, after.buffers) - queries.values(
        problem.params, problem.buffers
    )
    expected = LeaveOneOut(rows=[3]).prepare(problem).scores(queries)[3]
    torch.testing.assert_close(rise, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_scores_at_other_row_weights_are_the_derivative_there(name):
    problem = smooth_problem(name)
    queries = queries_for(problem, name)
    there = 0.5 + torch.rand(len(problem.y), generator=torch.Generator().manual_seed(0)).double()
    training = FunctionalTraining(problem, there)
    found = unrolled_scores(training, FunctionalRun(training).backwards(), queries)
    for row in (0, 7):
        step = torch.zeros_like(there)
        step[row] = 1e-4
        ends = [
            FunctionalRun(FunctionalTraining(problem, there + sign * step)).final()
            for sign in (1, -1)
        ]
        up, down = (queries.values(end.params, end.buffers) for end in ends)
        torch.testing.assert_close(found[row], -(up - down) / 2e-4, rtol=1e-5, atol=1e-9)
