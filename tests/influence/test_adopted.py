"""Scores of an adopted network are those of the same network trained here."""

import copy

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.comparison import compare, further_training, leave_one_out
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.influence import METHODS
from sam_attribution.linalg import CG, Arnoldi, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    InfluenceFunction,
    RelatIF,
    SelfInfluence,
)
from sam_attribution.retraining import FixedPoint, FurtherTraining
from sam_attribution.training import Checkpoint
from tests.adopted import (
    LR,
    RHO,
    VALIDATION,
    X,
    Y,
    adopted,
    assert_equal,
    checkpoints_of,
    influence,
    module,
    trained,
)

DAMPED = {"damping": 1.0}  # a training that is known gives damping="auto" its length
OF_THE_FINAL_MODEL = {
    "arnoldi": InfluenceFunction(solver=Arnoldi(), **DAMPED),
    "cg": InfluenceFunction(solver=CG(), curvature="ggn", **DAMPED),
    "datainf": "datainf",
    "ekfac": EKFAC(**DAMPED),
    "fixed-point": FixedPoint(rows=[0, 1], max_iter=1000),
    "further-training": FurtherTraining(n_epochs=2, n_seeds=2, rows=[0, 5], lr=LR, random_state=0),
    "grad-cos": "grad-cos",
    "grad-dot": "grad-dot",
    "hif": HIF(**DAMPED),
    "hif-fast": HIF("fast", **DAMPED),
    "hif-paper": HIF("paper", **DAMPED),
    "if": InfluenceFunction(**DAMPED),
    "lissa": InfluenceFunction(solver=LiSSA(), curvature="ggn", **DAMPED),
    "lissa-h": InfluenceFunction(solver=LiSSA(), **DAMPED),
    "relatif": RelatIF(InfluenceFunction(**DAMPED)),
    "trak": "trak",
}
ALONG_THE_TRAINING = ["gif", "self-influence", "tracin"]
OF_EVERY_STEP = {"integrated-unrolled", "loo", "unrolled", "unrolled-segments"}


@pytest.fixture(scope="module")
def net():
    return trained(module())


@pytest.fixture(scope="module")
def convex():
    """A convex problem with weight decay, where fixed points exist."""
    torch.manual_seed(0)
    return trained(nn.Linear(4, 3).double(), rho=0.01, optimizer__weight_decay=0.1, max_epochs=20)


def test_every_method_is_tried_here():
    assert METHODS.keys() - {"auto"} == {*OF_THE_FINAL_MODEL, *ALONG_THE_TRAINING, *OF_EVERY_STEP}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_FINAL_MODEL)
@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
def test_scores_are_those_of_the_net_that_was_trained_here(net, convex, name):
    net, decay = (convex, 0.1) if name == "fixed-point" else (net, 0.0)
    method = OF_THE_FINAL_MODEL[name]
    known = influence(FrozenEstimator(net), method).fit(X, Y)
    found = influence(adopted(net, weight_decay=decay), method).fit(X, Y)
    assert_equal(found.scores_, known.scores_)
    assert_equal(found.attribute(X[:2], Y[:2]), known.attribute(X[:2], Y[:2]))


@pytest.mark.parametrize("name", ALONG_THE_TRAINING)
def test_methods_along_the_training_ask_for_checkpoints(net, name):
    with pytest.raises(ValueError, match=r"Pass checkpoints= to SAMClassifier.from_module"):
        influence(adopted(net), name).fit(X, Y)


def test_the_detector_takes_the_final_weights_where_there_is_no_checkpoint(net):
    final = [Checkpoint(net.module_.state_dict(), rate=1)]
    known, found = (
        MislabelDetector(adopted(net, checkpoints=each), validation=VALIDATION, trusted=True)
        .fit(X, Y)
        .scores_
        for each in (final, None)
    )
    assert_equal(found, known)


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("name", sorted(OF_EVERY_STEP))
def test_what_repeats_the_training_is_refused_by_name(net, name, checkpoints):
    checkpoints = checkpoints_of(net) if checkpoints else None
    with pytest.raises(ValueError, match=f'"{name}".*needs every step of the training'):
        influence(adopted(net, checkpoints=checkpoints), name).fit(X, Y)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (GIF(n_checkpoints=None), "n_checkpoints=None needs every step"),
        (GIF(n_checkpoints=7), "n_checkpoints=7 .* the 3 checkpoints that from_module was given"),
        (GIF(rates="effective"), 'rates="effective" .* needs every step'),
        (TRAK(n_checkpoints=7), "the 3 checkpoints"),
        (SelfInfluence(n_checkpoints=7), "the 3 checkpoints"),
        (HIF(ascent="batch"), 'Use ascent="full"'),
    ],
)
def test_settings_that_need_more_than_checkpoints_are_refused(net, method, message):
    with pytest.raises(ValueError, match=message):
        influence(adopted(net, checkpoints=checkpoints_of(net)), method).fit(X, Y)


def test_further_training_needs_a_rate(net):
    method = FurtherTraining(n_epochs=1, rows=[0])
    with pytest.raises(ValueError, match=r"lr must be given .* is not known"):
        influence(adopted(net, lr=None), method).fit(X, Y)


@pytest.mark.slow
def test_further_training_has_the_curve_of_the_net_trained_here(net):
    method = FurtherTraining(n_epochs=3, n_seeds=2, rows=[0, 5, 9])
    data = X, Y, VALIDATION.X, VALIDATION.y
    known = further_training(net, *data, method=method, random_state=0)
    found = further_training(adopted(net), *data, method=method, random_state=0)
    assert_equal(found.curves(), known.curves())


def test_diagnose_knows_what_the_trained_net_knows(net):
    table = influence(adopted(net), "grad-dot").fit(X, Y).diagnose()
    known = influence(FrozenEstimator(net), "grad-dot").fit(X, Y).diagnose()
    assert table["check"].tolist() == known["check"].tolist()
    np.testing.assert_allclose(table["value"], known["value"], rtol=1e-6)


def test_advice_is_not_to_train_otherwise_but_to_give_the_rows_as_in_training(net):
    other = copy.deepcopy(net.module_)
    nn.init.constant_(other[2].bias, -100.0)
    nn.init.constant_(other[2].bias[:1], 100.0)
    blind = SAMClassifier.from_module(other, X, Y)
    with pytest.warns(AttributionWarning, match=r"say little\. Check that the rows are scaled"):
        fitted = influence(blind, "grad-dot").fit(X, Y)
    table = fitted.diagnose().set_index("check")
    assert table.loc["validation_skill", "advice"].startswith("check that the rows are scaled")
    assert "lr" not in table.loc["validation_skill", "advice"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fitted: fitted.diagnose(smoothness="prediction"), "diagnose.smoothness"),
        (lambda fitted: fitted.diagnose(X, Y, n_seeds=1), "or a net of from_module"),
    ],
)
def test_checks_that_train_again_are_refused(net, call, message):
    fitted = influence(adopted(net), HIF("fast", damping=0.1)).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        call(fitted)


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (lambda fitted: fitted.relabel([0], [1]), "repeating steps of the training .relabel, or"),
        (lambda fitted: fitted.remove([0], how="replay"), 'remove with how="replay" or "retrain"'),
        (lambda fitted: fitted.remove([0], how="linear", verify=1), r"remove\(verify=...\)"),
        (lambda fitted: fitted.diagnose(n_left_out=4), "this training cannot be repeated"),
    ],
)
def test_what_trains_without_rows_names_further_training_instead(net, call, asked):
    fitted = influence(adopted(net), HIF("fast", damping=0.1)).fit(X, Y)
    with pytest.raises(ValueError, match=asked) as caught:
        call(fitted)
    told = str(caught.value)
    assert "Train the network by SAMClassifier(...).fit(X, y). For the given model" in told
    assert "comparison.further_training with method=FurtherTraining(groups=[rows])" in told
    assert "use a method of the final model" not in told


def test_advice_names_only_what_a_given_model_takes(net):
    method = HIF("fast", damping=0.1)
    given = influence(adopted(net, lr=1e3), method).fit(X, Y).diagnose()
    advice = given.set_index("check")["advice"]
    assert {"stationarity", "damping", "edge_of_stability"} <= set(advice.index[advice != ""])
    measure = "comparison.further_training with method=FurtherTraining(groups=[rows])"
    for check in ("stationarity", "damping", "edge_of_stability"):
        assert measure in advice[check]
    refused = "unrolled|gif|smoothness|lr|weight decay|train longer"
    assert not advice.str.contains(refused).any()
    known = influence(FrozenEstimator(net), method).fit(X, Y).diagnose().set_index("check")
    assert "unrolled" in known.loc["damping", "advice"]
    assert not known["advice"].str.contains("further_training").any()


def test_rows_are_removed_and_predictions_explained(net):
    with_checkpoints = adopted(net, checkpoints=checkpoints_of(net))
    found = influence(with_checkpoints, "gif").fit(X, Y)
    known = influence(FrozenEstimator(net), "gif").fit(X, Y)
    edited, expected = (each.remove([0, 3], how="linear") for each in (found, known))
    np.testing.assert_allclose(edited.predict_proba(X), expected.predict_proba(X), atol=1e-12)
    one, other = (each.explain(X[:1], Y[:1], k=2) for each in (found, known))
    assert one["train_row"].tolist() == other["train_row"].tolist()


def test_it_is_taken_wherever_a_frozen_net_is(net):
    plain = adopted(net)
    expected = influence(FrozenEstimator(plain), "grad-dot").fit(X, Y).scores_
    table, scores = compare(["grad-dot"], plain, X, Y, validation=VALIDATION, return_scores=True)
    np.testing.assert_array_equal(scores["grad-dot"], expected)
    assert np.isnan(table["trainings"]["grad-dot"])
    with pytest.raises(ValueError, match="needs every step"):
        leave_one_out(plain, X, Y, VALIDATION)


def test_steps_before_it_are_fitted(net):
    scaler = StandardScaler().fit(X)
    scaled = SAMClassifier.from_module(net.module_, scaler.transform(X), Y, rho=RHO)
    found = influence(make_pipeline(StandardScaler(), scaled), "grad-dot").fit(X, Y)
    held_out = ValidationData(scaler.transform(VALIDATION.X), VALIDATION.y)
    expected = SAMInfluence(scaled, method="grad-dot", validation=held_out)
    expected = expected.fit(scaler.transform(X), Y).scores_
    np.testing.assert_allclose(found.scores_, expected, rtol=1e-10)


def test_sample_weights_and_parameters(net):
    weight = np.linspace(0.5, 1.5, len(X))
    known = trained(module(), max_epochs=1, sample_weight=weight)
    plain = adopted(known, sample_weight=weight)
    settings = {"parameters": ["2.*"]}
    one = influence(plain, HIF(damping=0.1), **settings).fit(X, Y, sample_weight=weight)
    other = influence(FrozenEstimator(known), HIF(damping=0.1), **settings)
    assert_equal(one.scores_, other.fit(X, Y, sample_weight=weight).scores_)
    with pytest.raises(ValueError, match="from_module was given other data: sample_weight differ"):
        influence(plain, "grad-dot").fit(X, Y)
