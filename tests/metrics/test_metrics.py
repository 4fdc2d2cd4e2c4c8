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
    over_queries,
)

rng = np.random.default_rng(0)


@pytest.mark.slow
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


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    factor=st.floats(1e-3, 1e3),
    sign=st.sampled_from([-1, 1]),
    n=st.integers(3, 30),
)
def test_order_means_nothing_and_scale_only_for_the_slope(seed, factor, sign, n):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(2, n))
    plain, order = agreement(scores, truth), rng.permutation(n)
    np.testing.assert_allclose(agreement(scores[order], truth[order]), plain, atol=1e-12)
    scaled = agreement(sign * factor * scores, truth)
    assert scaled.loc[0, "slope"] * sign * factor == pytest.approx(plain.loc[0, "slope"])
    for figure in ("pearson", "spearman", "cosine"):
        assert scaled.loc[0, figure] * sign == pytest.approx(plain.loc[0, figure], abs=1e-12)


def test_mean_and_standard_error_over_queries():
    scores, truth = rng.normal(size=(2, 6, 20))
    table = agreement(scores, truth)
    found = over_queries(table)
    assert found.index.tolist() == ["pearson", "slope", "spearman", "cosine"]
    for figure, line in found.iterrows():
        values = table[figure].to_numpy()
        assert line["mean"] == pytest.approx(values.mean())
        assert line["standard_error"] == pytest.approx(stats.sem(values))
        assert line["n_queries"] == 6


def test_a_query_without_a_figure_is_not_counted_for_it():
    scores, truth = rng.normal(size=(2, 4, 10))
    scores[2] = 1.0
    found = over_queries(agreement(scores, truth))
    rest = over_queries(agreement(np.delete(scores, 2, 0), np.delete(truth, 2, 0)))
    np.testing.assert_allclose(found.loc["pearson"], rest.loc["pearson"])
    assert found["n_queries"].tolist() == [3, 3, 3, 4]
    assert np.isnan(over_queries(agreement(scores[:1], truth[:1])).loc["slope", "standard_error"])


def test_constant_columns_have_no_correlation():
    line = agreement([1.0, 1, 1], [1.0, 2, 3]).loc[0]
    assert line[["pearson", "spearman", "slope"]].isna().all()
    assert line["cosine"] == pytest.approx(6 / np.sqrt(3 * 14))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_query_without_a_correlation_counts_nowhere():
    scores = rng.normal(size=(3, 12))
    scores[1] = 0
    left_out = rng.random((40, 12)) < 0.5
    values = rng.normal(size=(3, 40))
    found = linear_datamodelling_score(scores, left_out, values, random_state=0)
    rest = linear_datamodelling_score(scores[[0, 2]], left_out, values[[0, 2]], random_state=0)
    assert np.isnan(found.per_query[1])
    assert (found.value, found.low, found.high) == (rest.value, rest.low, rest.high)
    nothing = linear_datamodelling_score(scores[1], left_out, values[1], random_state=0)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


@pytest.mark.slow
def test_the_interval_repeats_and_leaves_the_global_stream_alone():
    scores, left_out = rng.normal(size=12), rng.random((40, 12)) < 0.5
    values, state = rng.normal(size=40), np.random.get_state()[1].copy()

    def bounds(random_state, **settings):
        found = linear_datamodelling_score(
            scores, left_out, values, random_state=random_state, **settings
        )
        return found.low, found.high

    assert bounds(0) == bounds(0) != bounds(1)
    assert bounds(None) != bounds(None)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    (low, high), (lower, higher) = bounds(0, confidence=0.5), bounds(0, confidence=0.99)
    assert lower < low < high < higher
    assert np.isnan(bounds(0, n_bootstrap=0)).all()


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**16), n=st.integers(2, 30), n_levels=st.integers(1, 5))
def test_detection_does_not_depend_on_the_order_of_the_rows(seed, n, n_levels):
    rng = np.random.default_rng(seed)
    scores, wrong = rng.integers(n_levels, size=n), rng.random(n) < 0.4
    wrong[:2] = True, False
    order = rng.permutation(n)
    np.testing.assert_allclose(detection(scores[order], wrong[order]), detection(scores, wrong))
    np.testing.assert_allclose(
        detection_curve(scores[order], wrong[order]), detection_curve(scores, wrong)
    )


def test_rows_of_equal_score_are_found_as_often_as_at_random():
    """Against the mean over many orders of the rows that are tied."""
    scores, wrong = np.array([0.0, 1, 1, 1, 1, 2, 2, 3]), np.array([0, 1, 1, 0, 0, 1, 0, 0])
    orders = np.argsort(scores + 0.5 * np.random.default_rng(0).random((20_000, 8)), axis=1)
    expected = np.cumsum(wrong[orders], axis=1).mean(0) / 3
    fraction, found = detection_curve(scores, wrong)
    np.testing.assert_allclose(fraction, np.arange(9) / 8)
    np.testing.assert_allclose(found, [0, *expected], atol=0.01)
    assert detection(np.zeros(8), wrong, inspected=[0.3])["recall at 30%"] == pytest.approx(0.3)


def test_every_inspected_share_has_a_name_of_its_own():
    found = detection([1.0, 2, 3], [True, False, False], inspected=[0.07, 0.125, 0.001, 0.004])
    names = ["recall at 7%", "recall at 12.5%", "recall at 0.1%", "recall at 0.4%"]
    assert found.index[2:].tolist() == names


def test_detection_by_counting_pairs():
    scores, wrong = rng.normal(size=30).round(1), rng.random(30) < 0.4
    found = detection(scores, wrong, inspected=[0.2])
    pairs = [
        (scores[w] < scores[r]) + 0.5 * (scores[w] == scores[r])
        for w in np.flatnonzero(wrong)
        for r in np.flatnonzero(~wrong)
    ]
    assert found["auc"] == pytest.approx(np.mean(pairs))
    lower = np.array([(scores < score).sum() for score in scores])
    equal = np.array([(scores == score).sum() for score in scores])
    among_six_lowest = np.clip((6 - lower) / equal, 0, 1)  # chance, ties in any order
    assert found["recall at 20%"] == pytest.approx(among_six_lowest[wrong].sum() / wrong.sum())
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
        (
            lambda: agreement([[[1.0, 2]]], [1.0, 2]),
            "scores should be a 1d or 2d array",
        ),
        (lambda: agreement([1.0, np.inf], [1.0, 2]), "Input scores contains infinity"),
        (
            lambda: detection([1.0, 2], [True]),
            "wrong must hold one value for each of the 2",
        ),
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
        (lambda: agreement([[1.0, 2], [1, np.nan]], np.ones((2, 2))), "got 1 for query 1"),
        (
            lambda: detection(np.ones((2, 2)), [True, False]),
            "scores should be a 1d array",
        ),
        (
            lambda: detection([1.0, 2, 3], [0, 2, 1]),
            r"wrong must hold .* only, got \[2\]. Turn",
        ),
        (lambda: detection([1.0, 2], ["yes", "no"]), "wrong must hold True and False only"),
        (lambda: detection([1.0, 2], [True, False], inspected=[10]), "inspected must lie from 0"),
        (
            lambda: linear_datamodelling_score([1.0, 2], [[1, 5], [0, 3]], [1.0, 2]),
            "left_out must hold True and False only",
        ),
        (
            lambda: linear_datamodelling_score([1.0, 2], [[True, False]], [1.0]),
            "left_out must hold two subsets or more",
        ),
        (
            lambda: linear_datamodelling_score([1.0, 2], np.eye(2), [1.0, np.nan]),
            "values must not hold NaN",
        ),
        (
            lambda: linear_datamodelling_score([1.0, 2], np.eye(2), [1.0, 2], n_bootstrap=-1),
            "n_bootstrap == -1, must be >= 0",
        ),
        (
            lambda: linear_datamodelling_score([1.0, 2], np.eye(2), [1.0, 2], confidence=95),
            "confidence == 95, must be < 1",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
