"""The share of wrong labels where a classifier has learned the noise: against the true one."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from sam_attribution.datasets import pair_noise
from sam_attribution.detection import label_issues
from sam_attribution.detection._given_share import uncertainty

N, RATE = 300, 0.2
T = np.eye(3) * (1 - RATE) + np.roll(np.eye(3), 1, 1) * RATE


@pytest.fixture(scope="module")
def confused():
    """Three classes far apart, of each of which a fifth has the label of the next one."""
    right = np.arange(N) % 3
    angle = 2 * np.pi * right / 3
    X = 4 * np.c_[np.cos(angle), np.sin(angle)] + np.random.default_rng(0).normal(size=(N, 2))
    return X, right, *pair_noise(right, RATE, random_state=0)


@pytest.mark.parametrize("learned", ["labels as given", "right labels"])
def test_confusions_are_counted_whatever_the_classifier_learned(confused, learned):
    X, right, y, wrong = confused
    forest = RandomForestClassifier(15, min_samples_leaf=3, random_state=0)
    target = y if learned == "labels as given" else right
    found = label_issues(y, cross_val_predict(forest, X, target, method="predict_proba"))
    low, high = found.contamination_interval
    assert low <= wrong.mean() <= high
    assert found.contamination == pytest.approx(wrong.mean(), abs=0.03)
    np.testing.assert_allclose(found.transition, T, atol=0.07)
    assert (found.suspicious == wrong).mean() > 0.95


def test_certain_rows_are_worth_what_the_prior_says():
    """Percentile by hand: the 9th of ten rows, the 18th of 20; four rows tell nothing."""
    first, second = np.linspace(0.5, 0.95, 10), np.linspace(0.6, 0.79, 20)
    rest = (1 - np.r_[first, second]) / 2
    proba = np.full((34, 3), [0.1, 0.1, 0.8])
    proba[:30] = rest[:, None]
    proba[:10, 0], proba[10:30, 1] = first, second
    expected = ((1 - 0.9) + (1 - 0.77)) / 0.07
    assert uncertainty(proba, np.ones(34)) == pytest.approx(expected)
    twice = np.r_[proba, proba[:10]]
    weights = np.where(np.arange(34) < 10, 2, 1)
    assert uncertainty(proba, weights) == pytest.approx(uncertainty(twice, np.ones(44)))
