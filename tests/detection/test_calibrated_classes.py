"""Calibration of class scores against sums and derivatives written out."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import softmax

from sam_attribution.detection._calibrated_classes import CalibratedClasses, standardised

PAIR = np.array([[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]])


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) * 5]
    settings = {
        "y": rng.integers(0, 3, 60),
        "weights": rng.uniform(0.5, 2, 60),
        "is_right": np.zeros(60, bool),
        "log_prior": np.log([0.2, 0.3, 0.5]),
    }
    return scores, settings, CalibratedClasses(scores, **settings)


def test_the_fitted_value_is_the_penalised_likelihood(drawn):
    scores, settings, classes = drawn
    value = classes.fit(PAIR)
    log_factors, offsets = np.split(classes.parameters, [2])
    logits = settings["log_prior"] + offsets
    logits = logits + sum(
        np.exp(f) * (s - s.mean(1, keepdims=True)) / (s - s.mean(1, keepdims=True)).std()
        for f, s in zip(log_factors, scores, strict=True)
    )
    p = softmax(logits, axis=1)
    y = settings["y"]
    likelihood = (p * PAIR[:, y].T).sum(1)
    penalty = (offsets**2).sum() / 2 + (log_factors**2).sum() / 2 / 1.5**2  # log(2 / 2) = 0
    assert value == pytest.approx(settings["weights"] @ np.log(likelihood) - penalty, rel=1e-5)
    np.testing.assert_allclose(classes.probabilities, p, atol=1e-5)
    np.testing.assert_allclose(classes.log_likelihood(PAIR), np.log(likelihood), atol=1e-4)
    joint = p * PAIR[:, y].T
    expected = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(classes.posterior(PAIR), expected, atol=1e-5)


def test_the_fit_is_a_maximum(drawn):
    *_, classes = drawn
    classes.fit(PAIR)
    given = classes._given(PAIR)
    slopes = approx_fprime(classes.parameters, lambda at: classes._unlikelihood(at, given)[0], 1e-3)
    assert np.abs(slopes).max() < 0.3
    elsewhere = classes.parameters + 0.3
    value, gradient = classes._unlikelihood(elsewhere, given)
    slopes = approx_fprime(elsewhere, lambda at: classes._unlikelihood(at, given)[0], 1e-3)
    np.testing.assert_allclose(gradient, slopes, rtol=0.05, atol=0.1)
    assert value > classes._unlikelihood(classes.parameters, given)[0]


def test_other_labels_weigh_a_quarter_of_those_that_are_right(drawn):
    scores, settings, _ = drawn
    right, weights = np.arange(60) > 40, settings["weights"]
    classes = CalibratedClasses(scores, **settings | {"is_right": right})
    value = classes.fit(PAIR)
    p, y = classes.probabilities, settings["y"]
    part = np.where(right, 1, weights[right].sum() / 4 / weights[~right].sum())

    def unlikelihood(at):
        factors, offsets = np.split(at, [2])
        spread = [s - s.mean(1, keepdims=True) for s in scores]
        logits = sum(np.exp(f) * s / s.std() for f, s in zip(factors, spread, strict=True))
        q = softmax(settings["log_prior"] + offsets + logits, axis=1)
        known = np.where(right, q[np.arange(60), y], (q * PAIR[:, y].T).sum(1))
        penalty = (offsets**2).sum() / 2 + (factors**2).sum() / 2 / 1.5**2
        return penalty - (weights * part) @ np.log(known)

    slopes = approx_fprime(classes.parameters, unlikelihood, 1e-5)
    inside = np.abs(np.r_[classes.parameters[:2] / 6, 0, 0, 0]) < 0.99
    assert np.abs(slopes[inside]).max() < 0.3
    others = np.log((p * PAIR[:, y].T).sum(1))[~right]
    assert value == pytest.approx(weights[~right] @ others, rel=1e-4)
    np.testing.assert_array_equal(classes.posterior(PAIR)[right], np.eye(3)[y[right]])


def test_unit_and_place_of_scores_do_not_matter():
    scores = np.random.default_rng(0).normal(size=(20, 4))
    moved = 7 * scores + np.arange(20)[:, None]
    np.testing.assert_allclose(standardised(moved), standardised(scores), atol=1e-5)
    np.testing.assert_array_equal(standardised(np.ones((5, 3))), 0)
