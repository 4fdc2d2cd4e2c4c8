"""Figures of merit against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sam_attribution.metrics import (
    agreement,
    detection,
    detection_curve,
    linear_datamodelling_score,
)

rng = np.random.default_rng(0)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16), n_query=st.integers(1, 3), n=st.integers(3, 30))
def test_agreement_by_definition(seed, n_query, n):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(2, n_query, n))
    table = agreement(scores, truth)
    for q, (s, t) in enumerate(zip(scores, truth, strict=True)):
        covariance = np.cov(s, t)
        assert table.loc[q, "pearson"] == pytest.approx(np.corrcoef(s, t)[0, 1])
        assert table.loc[q, "spearman"] == pytest.approx(stats.spearmanr(s, t).statistic)
        assert table.loc[q, "slope"] == pytest.approx(covariance[0, 1] / covariance[0, 0])
        assert table.loc[q, "cosine"] == pytest.approx((s * t).sum() / np.sqrt(s @ s * (t @ t)))
        assert table.loc[q, "n"] == n


def test_the_slope_is_that_of_truth_on_score():
    scores = rng.normal(size=50)
    assert agreement(scores, 3 * scores + 1).loc[0, "slope"] == pytest.approx(3)
    noisy = 3 * scores + rng.normal(size=50)
    assert agreement(scores, noisy).loc[0, "slope"] != pytest.approx(
        1 / agreement(noisy, scores).loc[0, "slope"], rel=0.05
    )


def test_rows_without_a_number_are_left_out():
    scores, truth = rng.normal(size=(2, 20))
    with_gaps, gaps = scores.copy(), truth.copy()
    with_gaps[3], gaps[7] = np.nan, np.nan
    kept = np.delete(np.arange(20), [3, 7])
    found = agreement(with_gaps, gaps)
    np.testing.assert_allclose(found, agreement(scores[kept], truth[kept]))
    assert found.loc[0, "n"] == 18


def test_constant_columns_have_no_correlation():
    line = agreement([1.0, 1, 1], [1.0, 2, 3]).loc[0]
    assert line[["pearson", "spearman", "slope"]].isna().all()
    assert line["cosine"] == pytest.approx(6 / np.sqrt(3 * 14))


def test_datamodelling_sums_over_the_rows_left_out():
    scores = rng.normal(size=(2, 12))
    left_out = rng.random((40, 12)) < 0.5
    values = scores @ left_out.T + rng.normal(size=(2, 40))
    found = linear_datamodelling_score(scores, left_out, values, random_state=0)
    expected = [
        stats.spearmanr([row[gone].sum() for gone in left_out], value).statistic
        for row, value in zip(scores, values, strict=True)
    ]
    np.testing.assert_allclose(found.per_query, expected)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.low < found.value < found.high
    kept = linear_datamodelling_score(scores, ~left_out, values, random_state=0)
    assert kept.value == pytest.approx(-found.value)


def test_the_interval_covers_and_shrinks_with_the_number_of_subsets():
    """Against the spread over fresh draws of the subsets."""
    scores = rng.normal(size=(1, 12))

    def draw(n_subsets):
        left_out = rng.random((n_subsets, 12)) < 0.5
        return left_out, scores @ left_out.T + 2 * rng.normal(size=(1, n_subsets))

    settled = np.mean(
        [linear_datamodelling_score(scores, *draw(60), n_bootstrap=0).value for _ in range(200)]
    )
    intervals = [
        linear_datamodelling_score(scores, *draw(60), n_bootstrap=200, random_state=0)
        for _ in range(40)
    ]
    assert np.mean([i.low < settled < i.high for i in intervals]) > 0.8
    wide = np.mean([i.high - i.low for i in intervals])
    narrow = linear_datamodelling_score(scores, *draw(600), n_bootstrap=200, random_state=0)
    assert narrow.high - narrow.low < 0.6 * wide


def test_detection_by_counting_pairs():
    scores, wrong = rng.normal(size=30).round(1), rng.random(30) < 0.4
    found = detection(scores, wrong, inspected=[0.2])
    pairs = [
        (scores[w] < scores[r]) + 0.5 * (scores[w] == scores[r])
        for w in np.flatnonzero(wrong)
        for r in np.flatnonzero(~wrong)
    ]
    assert found["auc"] == pytest.approx(np.mean(pairs))
    lowest = np.argsort(scores, kind="stable")[:6]
    assert found["recall at 20%"] == pytest.approx(wrong[lowest].sum() / wrong.sum())
    fraction, share = detection_curve(scores, wrong)
    assert (fraction[0], share[0], fraction[-1], share[-1]) == (0, 0, 1, 1)
    assert share[6] == found["recall at 20%"]


def test_a_perfect_and_an_inverted_ranking():
    wrong = np.arange(20) < 5
    assert detection(np.arange(20.0), wrong)["average_precision"] == 1
    assert detection(np.arange(20.0), wrong)["recall at 40%"] == 1
    assert detection(-np.arange(20.0), wrong)["auc"] == 0


def test_rows_not_judged_count_nowhere():
    scores, wrong = rng.normal(size=30), rng.random(30) < 0.4
    gaps = scores.copy()
    gaps[::5] = np.nan
    judged = ~np.isnan(gaps)
    np.testing.assert_allclose(detection(gaps, wrong), detection(scores[judged], wrong[judged]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agreement([1.0, 2], [1.0, 2, 3]), "scores and truth must have one shape"),
        (lambda: agreement([1.0, np.nan], [1.0, 2]), "two pairs without NaN, got 1"),
        (lambda: agreement([[[1.0, 2]]], [1.0, 2]), "scores must have one or two dimensions"),
        (lambda: agreement([1.0, np.inf], [1.0, 2]), "Input scores contains infinity"),
        (lambda: detection([1.0, 2], [True]), "wrong must have the shape of scores"),
        (lambda: detection([1.0, 2], [True, True]), "wrong must hold True and False"),
        (
            lambda: linear_datamodelling_score([1.0, 2], [[True]], [1.0]),
            r"left_out must have shape \(n_subsets, 2\)",
        ),
        (
            lambda: linear_datamodelling_score([1.0, 2], [[True, False]], [1.0, 2]),
            r"values must have shape \(1, 1\)",
        ),
        (
            lambda: linear_datamodelling_score([np.nan, 2], [[True, False]], [1.0]),
            "scores must have a number for every row that is left out",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
