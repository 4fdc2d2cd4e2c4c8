"""Rows that are really left out, against leave-one-out scores and plain arithmetic."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.diagnosis import left_out_rows, own_influence, recorded_scores
from sam_attribution.diagnosis._left_out_rows import LeftOutRows
from sam_attribution.methods import SelfInfluence
from sam_attribution.retraining import LeaveOneOut
from tests.diagnosis.test_smoothness import convex, queries_of, rough

FACTOR = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def found(predicted, effects):
    return LeftOutRows(torch.arange(len(predicted)), predicted, effects)


def test_the_unit_of_predictions_is_no_error():
    rows = found(FACTOR, 3 * FACTOR)
    assert rows.slope == pytest.approx(3)
    assert rows.error == pytest.approx(0, abs=1e-12)


def test_the_error_is_what_no_factor_explains():
    predicted = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    effects = torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)
    assert found(predicted, effects).error == pytest.approx(5 / 50**0.5)


@pytest.mark.parametrize("effects", [-FACTOR, torch.inf * FACTOR.abs()])
def test_a_wrong_sign_and_an_effect_without_bound_are_as_bad_as_no_prediction(effects):
    assert found(FACTOR, effects).error == 1


def test_scores_without_a_unit_are_judged_by_their_order():
    predicted = torch.tensor([3.0, 40.0, -1.0, 5.0], dtype=torch.float64)
    effects = torch.tensor([0.1, 0.3, -2.0, 0.2], dtype=torch.float64)
    assert found(predicted, effects).rank_correlation == pytest.approx(1)
    ranks = torch.tensor([1.0, 3.0, 0.0, 2.0], dtype=torch.float64)
    swapped = torch.tensor([3.0, 1.0, 0.0, 2.0], dtype=torch.float64)
    expected = 1 - 6 * float((ranks - swapped).square().sum()) / (4 * 15)
    assert found(predicted, swapped).rank_correlation == pytest.approx(expected)
    assert found(predicted, torch.inf * effects).rank_correlation == 0
    assert np.isnan(found(predicted, torch.ones_like(effects)).rank_correlation)


def test_half_of_the_rows_go_by_score_and_half_by_their_own_influence():
    problem = convex(rho=0.02)
    queries = queries_of(problem)
    scores = recorded_scores(problem, queries)
    scores[3] = torch.nan
    rows = left_out_rows(queries, scores, own_influence(problem, queries), 6).rows.tolist()
    by_score = scores[:, 0].abs().nan_to_num(0).argsort(descending=True)[:3].tolist()
    assert rows[:3] == by_score
    probes = SelfInfluence(n_checkpoints=10).prepare(problem).probes(queries)
    own = np.zeros(len(problem.y))
    for probe in probes:  # the squared length of every row's gradient, one at a time
        weights = problem.layout.unflatten(probe.point.requires_grad_())
        for row, label in enumerate(problem.y):
            output = torch.func.functional_call(problem.module, weights, (problem.X[row][None],))
            loss = nn.functional.cross_entropy(output, label[None])
            (gradient,) = torch.autograd.grad(loss, probe.point, retain_graph=True)
            own[row] += float(abs(probe.rate) * gradient.square().sum())
    expected = [row for row in np.argsort(-own) if row not in (*by_score, 3)][:3]
    assert rows[3:] == expected


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_effects_are_those_of_leave_one_out(momentum):
    problem = convex(rho=0.02, optimizer__momentum=momentum)
    queries = queries_of(problem)
    scores = recorded_scores(problem, queries)
    rows = left_out_rows(queries, scores, own_influence(problem, queries), 5)
    effects = LeaveOneOut(rows=rows.rows.numpy()).prepare(problem).group_effects(queries)
    torch.testing.assert_close(rows.effects, effects[0, :, 0].double(), rtol=1e-5, atol=1e-9)
    predicted, effects = scores[rows.rows, 0].double(), rows.effects
    slope = float(predicted @ effects / (predicted @ predicted))
    assert rows.slope == pytest.approx(slope)
    expected = (slope * predicted - effects).norm() / effects.norm()
    assert rows.error == pytest.approx(float(expected))
    assert rows.error < 0.2


@pytest.mark.slow
def test_a_rough_run_is_found_out():
    problem = rough()
    queries = queries_of(problem)
    own = own_influence(problem, queries)
    assert left_out_rows(queries, recorded_scores(problem, queries), own, 10).error > 0.8
