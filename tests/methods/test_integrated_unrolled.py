"""Scores integrated over the row's weight, against runs at weights between 0 and 1."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.methods import IntegratedUnrolled, Unrolled
from sam_attribution.problem import FunctionalRun, FunctionalTraining, problem_from_estimator
from sam_attribution.retraining import LeaveOneOut
from tests.models import tabular, targets

X, y, weight = tabular(24)
HELD_OUT = ValidationData(*tabular(30, seed=1)[:2])


def network(norm=False):
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(4) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(6, 4), middle, nn.Tanh(), nn.Linear(4, 3))


def classifier(**settings):
    # long enough to fit the rows: removals bend on the way
    defaults = {
        "module": network(), "max_epochs": 30, "lr": 0.05, "batch_size": 12, "rho": 0.05,
        "optimizer__momentum": 0.9, "dtype": "float64", "random_state": 0,
    }  # fmt: skip
    return SAMClassifier(**defaults | settings)


def fitted(method, sample_weight=None, held_out=HELD_OUT, **settings):
    influence = SAMInfluence(classifier(**settings), method=method, validation=held_out)
    return influence.fit(X, y, sample_weight)


def groups_of(n_groups, n_rows=24, seed=0):
    shuffled = torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))
    return shuffled.tensor_split(n_groups)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "sample_weight"), [(False, None), (True, weight[:24])])
def test_a_score_is_simpsons_rule_over_derivatives_by_finite_differences(norm, sample_weight):
    influence = fitted(
        IntegratedUnrolled(n_groups=4, random_state=0),
        sample_weight,
        module=network(norm),
        max_epochs=5,
    )
    problem = problem_from_estimator(influence.estimator_, X, y, sample_weight)
    asked = torch.tensor(HELD_OUT.X), torch.tensor(HELD_OUT.y)

    def value(weights):
        state = FunctionalRun(FunctionalTraining(problem, weights)).final()
        logits = problem.logits(state.params, state.buffers, asked[0])
        return float(nn.functional.cross_entropy(logits, asked[1]))

    def slope(row, group, at):
        sides = []
        for h in (1e-5, -1e-5):
            weights = torch.ones(24, dtype=torch.float64)
            weights[group] = at
            weights[row] += h
            sides.append(value(weights))
        return (sides[0] - sides[1]) / 2e-5

    for group in groups_of(4):
        row = int(group[0])
        one, half, zero = (slope(row, group, at) for at in (1.0, 0.5, 0.0))
        expected = -(one + 4 * half + zero) / 6
        assert influence.scores_[row] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_it_is_nearer_to_removal_than_the_derivative_where_rows_are_fitted():
    truth = fitted(LeaveOneOut()).scores_
    start, whole = (
        fitted(method).scores_
        for method in (Unrolled(check=None), IntegratedUnrolled(n_groups=12, random_state=0))
    )
    pearson = [np.corrcoef(scores, truth)[0, 1] for scores in (start, whole)]
    assert pearson[0] < 0.8 < 0.95 < pearson[1]
    slopes = [np.polyfit(scores, truth, 1)[0] for scores in (start, whole)]
    assert abs(slopes[1] - 1) < 0.1 < 0.25 < abs(slopes[0] - 1)


@pytest.mark.slow
def test_where_training_is_nearly_linear_in_the_weights_it_is_the_derivative():
    start, whole, truth = (
        fitted(method, max_epochs=1, lr=1e-3).scores_
        for method in (Unrolled(check=None), IntegratedUnrolled(n_groups=12, random_state=0), "loo")
    )
    size = np.linalg.norm(truth)
    assert np.linalg.norm(whole - start) < 0.02 * size
    assert np.linalg.norm(whole - truth) < 0.005 * size < np.linalg.norm(start - truth)


@pytest.mark.slow
def test_tables_queries_and_passes_agree():
    method = IntegratedUnrolled(n_groups=3, random_state=1)
    influence = fitted(method, max_epochs=3)
    own = influence.transform_train_[np.arange(24), y]
    np.testing.assert_allclose(own, influence.scores_, rtol=1e-12)
    mean = influence.attribute(HELD_OUT.X, HELD_OUT.y).mean(0)
    np.testing.assert_allclose(mean, influence.scores_, rtol=1e-9)
    again = SAMInfluence(
        classifier(max_epochs=3), method=method, validation=HELD_OUT, batch_size=1
    ).fit(X, y)
    np.testing.assert_allclose(again.scores_, influence.scores_, rtol=1e-10)
    other = fitted(IntegratedUnrolled(n_groups=3, random_state=2), max_epochs=3)
    assert not np.allclose(other.scores_, influence.scores_, rtol=1e-6)


@pytest.mark.slow
def test_rows_held_out_are_in_no_group():
    influence = SAMInfluence(
        classifier(max_epochs=2), method=IntegratedUnrolled(n_groups=19), random_state=0
    ).fit(X, y)
    assert np.isnan(influence.scores_).sum() == 5
    assert int(influence.diagnostics_["n_groups"][0]) == 19


@pytest.mark.slow
def test_a_regression():
    rows, target, _ = targets(20)
    held_out = ValidationData(rows[::2] + 0.1, target[::2])
    settings = {"max_epochs": 5, "lr": 0.05, "batch_size": 10, "dtype": "float64"}
    regressor = SAMRegressor(random_state=0, **settings)
    methods = (Unrolled(check=None), IntegratedUnrolled(n_groups=20), "loo")
    start, whole, truth = (
        SAMInfluence(regressor, method=method, validation=held_out).fit(rows, target).scores_
        for method in methods
    )
    assert np.linalg.norm(whole - truth) < np.linalg.norm(start - truth) / 50


@pytest.mark.parametrize("n_groups", [1, 25])
def test_groups_must_leave_rows_to_train_on(n_groups):
    with pytest.raises(ValueError, match=f"between 2 and .* trained on, 24, got {n_groups}"):
        fitted(IntegratedUnrolled(n_groups=n_groups), max_epochs=1)


def test_other_rows_have_no_score_and_models_are_not_edited():
    influence = fitted(IntegratedUnrolled(n_groups=2), max_epochs=1)
    with pytest.raises(ValueError, match='Use "unrolled" for other rows'):
        influence.score_samples(X, y)
    with pytest.raises(ValueError, match="unrolled"):
        influence.remove([0], how="linear")


def test_the_bar_knows_its_length(capsys):
    method = IntegratedUnrolled(n_groups=2)
    SAMInfluence(
        classifier(max_epochs=1), method=method, validation=HELD_OUT, verbose=1
    ).fit(X, y)  # fmt: skip
    assert "/20 [" in capsys.readouterr().err  # 5 runs of 2 steps, two probes each
