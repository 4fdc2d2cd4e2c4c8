"""Scores of the rows that matter most, replaced by true effects, against leave-one-out."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.diagnosis._left_out_rows import LeftOutRows
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.influence._attribution import Attribution
from sam_attribution.influence._diagnosis import warn_of_several_methods
from sam_attribution.influence._refinement import refined
from sam_attribution.methods import Unrolled
from sam_attribution.retraining import LeaveOneOut
from tests.influence.test_diagnose import X, held_out, influence, linear, rough, y


@pytest.fixture(scope="module")
def net():
    return FrozenEstimator(linear(max_epochs=5).fit(X, y))


@pytest.mark.parametrize("calibrate", [False, True])
def test_scores_are_the_effects_of_leaving_out(net, calibrate):
    plain = influence(net, Unrolled(check=None)).fit(X, y)
    fitted = influence(net, Unrolled(check=None), refine=6, calibrate=calibrate).fit(X, y)
    rows = fitted.left_out_["row"].to_numpy()
    truth = influence(net, LeaveOneOut(rows=rows)).fit(X, y).scores_[rows]
    np.testing.assert_allclose(fitted.scores_[rows], truth, rtol=1e-5)
    np.testing.assert_allclose(fitted.left_out_["effect"], truth, rtol=1e-5)
    np.testing.assert_allclose(fitted.left_out_["predicted"], plain.scores_[rows], rtol=1e-6)
    others = np.setdiff1d(np.arange(len(y)), rows)
    predicted = plain.scores_[rows]
    slope = predicted @ truth / (predicted @ predicted) if calibrate else 1
    np.testing.assert_allclose(fitted.scores_[others], slope * plain.scores_[others], rtol=1e-5)
    own = fitted.transform_train_[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    np.testing.assert_array_equal(own, fitted.scores_)


def test_rows_of_every_split_are_positions_among_those_given():
    fitted = influence(linear(), "gif", validation=3).fit(X, y)
    assert not hasattr(fitted, "left_out_")
    table = fitted.diagnose(n_left_out=4)
    assert (table.loc[table["check"] == "left_out_error", "status"] == "fine").all()
    found = fitted.left_out_
    assert found["split"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for split, row, predicted, _ in found.itertuples(index=False):
        trained = fitted.attributions_[split].trained
        (at,) = np.flatnonzero(trained.split.train == row)
        assert float(fitted.attributions_[split].scores[at]) == pytest.approx(predicted)


@pytest.mark.slow
def test_a_run_that_has_memorised_its_rows_is_not_called_fine():
    """All weights moved together hide that the largest effects have another sign."""
    rows, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[:450]
    rows, labels = rows[order].astype(np.float64) / 16, labels[order]
    validation = ValidationData(rows[150:], labels[150:])
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
    settings = {"lr": 0.2, "max_epochs": 30, "batch_size": 30, "optimizer__momentum": 0.9}
    net = SAMClassifier(module, dtype="float64", rho=0.05, random_state=0, **settings)
    fitted = influence(net, Unrolled(check=None), validation=validation)
    fitted.fit(rows[:150], labels[:150])
    table = fitted.diagnose(n_left_out=10, smoothness="prediction").set_index("check")["status"]
    assert table["left_out_error"] != "fine"


def test_a_rough_run_that_is_refined_warns_of_its_scores():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        influence(rough(), "gif", refine=6, calibrate=True).fit(X, y)
    said = [str(each.message) for each in caught]
    assert any("did not have the effect that their scores predict" in each for each in said)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibrate": True}, r"refine=0\. Set refine=10"),
        ({"refine": 1}, "refine must be 0 or at least 4, got 1"),
        ({"refine": 5, "aggregate": "worst-class"}, 'Use aggregate="mean" with it'),
        ({"refine": 5, "method": "loo"}, "Leave refine at 0"),
    ],
)
def test_what_cannot_be_refined_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SAMInfluence(linear(), validation=held_out, **{"method": "gif"} | settings).fit(X, y)


def test_a_network_trained_elsewhere_has_nothing_to_repeat(net):
    module = net.estimator.module_
    adopted = SAMClassifier.from_module(module, X, y)
    fitted = influence(FrozenEstimator(adopted), "grad-dot").fit(X, y)
    with pytest.raises(ValueError, match=r"training|recorded"):
        fitted.diagnose(n_left_out=5)


def test_effects_do_not_stand_among_scores_of_another_size(net, monkeypatch):
    """That is said before any row is left out."""
    monkeypatch.setattr(Attribution, "leave_out", None)
    with pytest.raises(ValueError, match="Set calibrate=True"):
        influence(net, "gif", refine=6).fit(X, y)
    with pytest.raises(ValueError, match="each row by its own loss"):
        influence(net, "self-influence", refine=6, calibrate=True).fit(X, y)


def test_the_larger_set_of_rows_counts(net):
    """Unrolled leaves out ten rows by itself."""
    fitted = influence(net, "unrolled", refine=4).fit(X, y)
    assert len(fitted.left_out_) == fitted.diagnostics_.loc[0, "n_left_out"] == 10
    rows = fitted.left_out_["row"].to_numpy()
    np.testing.assert_array_equal(fitted.scores_[rows], fitted.left_out_["effect"])


def test_the_step_of_an_edit_is_held_against_the_prediction_of_the_method(net):
    plain = influence(net, Unrolled(check=None)).fit(X, y)
    fitted = influence(net, Unrolled(check=None), refine=6, calibrate=True).fit(X, y)
    rows = fitted.left_out_["row"].to_numpy()[:2]
    edits = [each.remove(rows, how="linear").edit_["predicted_rise"] for each in (plain, fitted)]
    assert edits[1] == pytest.approx(edits[0], rel=1e-6)


def test_rows_without_which_training_diverges_are_no_scores():
    found = LeftOutRows(*map(torch.tensor, ([0, 1], [0.1, 0.2], [torch.inf, 0.2])))
    assert np.isnan(found.slope)
    assert found.error == 1
    with pytest.raises(ValueError, match="training without them is not finite"):
        refined(torch.zeros(3), None, None, found, calibrate=True)


def test_splits_that_auto_scored_by_several_methods_are_named():
    table = pd.DataFrame({"method": ["hif-fast", "unrolled"]})
    with pytest.warns(AttributionWarning, match="hif-fast in split 0, unrolled in split 1"):
        warn_of_several_methods(table)
