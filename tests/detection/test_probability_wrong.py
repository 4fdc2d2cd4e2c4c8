"""Probabilities that follow the scores, and the rows of the largest expected F1."""

import numpy as np
from scipy.special import logsumexp

from sam_attribution.detection._probability_wrong import (
    following_scores,
    label_log_probabilities,
    most_probable_f1,
)


def test_probabilities_fall_with_the_score_and_keep_their_sum():
    rng = np.random.default_rng(0)
    scores, probability = rng.normal(size=200), rng.random(200)
    scores[7] = np.nan
    found = following_scores(probability, scores)
    assert np.isnan(found[7])
    judged = np.delete(np.arange(200), 7)
    ordered = judged[np.argsort(scores[judged])]
    assert (np.diff(found[ordered]) <= 0).all()
    np.testing.assert_allclose(found[judged].sum(), probability[judged].sum(), rtol=1e-6)


def test_no_other_cut_has_a_larger_expected_f1():
    rng = np.random.default_rng(1)
    probability = rng.beta(0.3, 1.5, 14)
    scores = -probability
    drawn = rng.random((40_000, 14)) < probability
    sizes = np.arange(1, 15)
    order = np.argsort(-probability)
    hits = drawn[:, order].cumsum(1)
    f1 = (2 * hits / (sizes + drawn.sum(1, keepdims=True))).mean(0)
    taken = most_probable_f1(probability, scores)
    assert set(np.flatnonzero(taken)) == set(order[: taken.sum()])
    assert f1[taken.sum() - 1] > f1.max() - 0.01


def test_nothing_is_taken_where_not_half_a_row_is_wrong():
    assert not most_probable_f1(np.full(40, 0.01), np.arange(40.0)).any()
    assert not most_probable_f1(np.full(3, np.nan), np.full(3, np.nan)).any()


def test_none_is_taken_where_that_has_the_larger_expected_f1():
    """Half of the time nothing is wrong, else the ten lowest scores are."""
    wrong = np.repeat([0.5, 0.0], [10, 90])
    scores = np.arange(100.0)
    f1_of_ten = 2 * wrong[:10].sum() / (10 + wrong.sum())
    for none_wrong in (f1_of_ten - 0.01, f1_of_ten + 0.01):
        taken = most_probable_f1(wrong, scores, none_wrong).sum()
        assert taken == (10 if none_wrong < f1_of_ten else 0)


def test_ties_are_taken_from_the_lowest_score():
    probability = np.array([0.9, 0.9, 0.0, 0.0])
    assert (
        most_probable_f1(probability, np.array([2.0, 1, 5, 4])).tolist() == [True] * 2 + [False] * 2
    )


def test_the_given_label_has_what_is_not_wrong():
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = np.exp(label_log_probabilities(log_p, np.array([0, 2]), np.array([0.6, 0.1])))
    np.testing.assert_allclose(found, [[0.4, 0.36, 0.24], [0.05, 0.05, 0.9]])
    np.testing.assert_allclose(logsumexp(np.log(found), axis=1), 0, atol=1e-12)
