"""Scores of a classifier with one logit are those of the same network with the logits (0, z)."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.detection._snapshots import snapshot
from sam_attribution.influence import METHODS
from sam_attribution.methods import TRAK, InfluenceFunction, IntegratedUnrolled
from sam_attribution.problem import GenericRows
from sam_attribution.problem._one_logit import OneLogitRows
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from tests.training.test_one_logit import X, Y, binary, weight

SETTINGS = {
    "fixed-point": FixedPoint(rows=[0, 1], max_iter=2000),
    "further-training": FurtherTraining(n_epochs=1, n_seeds=1, rows=[0, 5]),
    "integrated-unrolled": IntegratedUnrolled(n_groups=2),
    "loo": LeaveOneOut(rows=[0, 5]),
    "trak": TRAK(proj_dim=4, random_state=0),
}
OTHERS = {"ggn": InfluenceFunction(curvature="ggn"), "weighted": TRAK(proj_dim=4, weighted=True)}
CASES = {name: SETTINGS.get(name, name) for name in METHODS} | OTHERS


def pair(method, evaluation="loss", aggregate="mean", form="row", **settings):
    for each in (form, "two"):
        influence = SAMInfluence(
            binary(each, trajectory=3, optimizer__weight_decay=0.3, **settings),
            method=method, evaluation=evaluation, aggregate=aggregate, random_state=0,
        )  # fmt: skip
        yield influence.fit(X, Y, weight)


def assert_equal(found, expected):
    size = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * size)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_scores_of_every_method_are_those_of_two_logits(name):
    if name == "fixed-point":
        one, two = pair(CASES[name], rho=0.001, lr=0.5, max_epochs=40)
    else:
        one, two = pair(CASES[name])
    assert_equal(one.scores_, two.scores_)
    if hasattr(two, "transform"):
        assert_equal(one.transform_train_, two.transform_train_)
    if name != "self-influence":
        assert_equal(one.attribute(X[:3], Y[:3]), two.attribute(X[:3], Y[:3]))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["column", "row"])
def test_margins_worst_classes_and_suggestions_are_those_of_two_logits(form):
    one, two = pair("gif", "margin", "worst-class", form)
    assert_equal(one.scores_, two.scores_)
    np.testing.assert_array_equal(one.suggest_labels(), two.suggest_labels())
    np.testing.assert_array_equal(one.transform(X), one.transform(X))
    assert_equal(one.transform(X), two.transform(X))
    table, expected = (each.explain_errors(X, Y, k=1) for each in (one, two))
    assert table["train_row"].tolist() == expected["train_row"].tolist()


def cross_entropy(logits, y):
    return nn.functional.cross_entropy(logits, y, reduction="none")


def test_an_evaluation_gets_two_logits():
    own, loss = (next(pair("tracin", evaluation)) for evaluation in (cross_entropy, "loss"))
    assert_equal(own.scores_, loss.scores_)


@pytest.mark.parametrize("pos_weight", [None, torch.tensor([3.0], dtype=torch.float64)])
def test_the_gradient_keeps_its_digits_where_a_prediction_is_certain(pos_weight):
    """p - 1 would be 0 for a logit of 50."""
    rows = OneLogitRows(nn.BCEWithLogitsLoss(pos_weight=pos_weight))
    z = torch.tensor([[50.0], [-50.0], [0.3], [-0.3]], dtype=torch.float64)
    y = torch.tensor([1, 0, 1, 0])
    size = 1.0 if pos_weight is None else 3.0
    positive, negative = -size / (1 + z.exp()), 1 / (1 + (-z).exp())
    expected = torch.where(y[:, None] == 1, positive, negative)
    torch.testing.assert_close(rows.in_output(z, y), expected, rtol=1e-14, atol=0)
    by_autodiff = GenericRows.in_output(rows, z[2:], y[2:])
    torch.testing.assert_close(rows.in_output(z[2:], y[2:]), by_autodiff)


@pytest.mark.slow
def test_wrong_labels_are_found_with_one_logit():
    rng = np.random.default_rng(0)
    clean = np.arange(200) % 2
    rows = rng.normal(size=(200, 4)) + 1.5 * clean[:, None]
    wrong = rng.random(200) < 0.1
    given = np.where(wrong, 1 - clean, clean)
    settings = {"criterion": nn.BCEWithLogitsLoss, "random_state": 0, "max_epochs": 10}
    detector = MislabelDetector(SAMClassifier(**settings), random_state=0).fit(rows, given)
    two = MislabelDetector(SAMClassifier(random_state=0, max_epochs=10), random_state=0)
    two.fit(rows, given)
    for found in (detector, two):
        ranks = found.scores_.argsort().argsort()
        assert ranks[wrong].mean() < 25
    assert detector.label_log_proba_.shape == (200, 2)
    filtered = FilteredClassifier(SAMClassifier(**settings), random_state=0).fit(rows, given)
    assert filtered.score(rows, clean) > 0.9


def test_probabilities_of_snapshots_are_those_of_the_net():
    held_out = ValidationData(X[:5], Y[:5])
    found = SAMInfluence(binary("row"), method="grad-dot", validation=held_out).fit(X, Y)
    problem = found.attributions_[0].problem
    last = problem.path.recorded_states[-1]
    seen = snapshot(problem, last, problem.X).log_probabilities
    np.testing.assert_allclose(seen.exp(), found.estimator_.predict_proba(X), rtol=1e-5)
