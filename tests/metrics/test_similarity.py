"""Similarity with further training against its definition."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as cosine_distance

from sam_attribution.metrics import similarities, similarity_curve

rng = np.random.default_rng(0)


@pytest.mark.slow
@settings(derandomize=True, max_examples=30)
@given(
    seed=st.integers(0, 2**16),
    n_amounts=st.integers(1, 4),
    n_query=st.integers(1, 4),
    n=st.integers(2, 20),
)
def test_by_definition(seed, n_amounts, n_query, n):
    rng = np.random.default_rng(seed)
    scores, truth = rng.normal(size=(n_query, n)), rng.normal(size=(n_amounts, n_query, n))
    amounts = np.sort(rng.random(n_amounts))
    single, curve = similarities(scores, truth, amounts), similarity_curve(scores, truth, amounts)
    expected = np.array(
        [[1 - cosine_distance(s, t) for s, t in zip(scores, at, strict=True)] for at in truth]
    )
    np.testing.assert_allclose(single, expected, atol=1e-12)
    np.testing.assert_allclose(single.max(), expected.max(0), atol=1e-12)
    np.testing.assert_array_equal(curve.index, amounts)
    np.testing.assert_allclose(curve["mean"], expected.mean(1), atol=1e-12)
    if n_query > 1:
        error = expected.std(1, ddof=1) / np.sqrt(n_query)
        np.testing.assert_allclose(curve["standard_error"], error, atol=1e-12)
    else:
        assert curve["standard_error"].isna().all()
    assert (curve["n_queries"] == n_query).all()


def test_the_size_of_scores_does_not_matter_their_shift_does():
    scores, truth = rng.normal(size=(3, 20)), rng.normal(size=(2, 3, 20))
    plain = similarities(scores, truth, [1, 2])
    np.testing.assert_allclose(similarities(7 * scores, truth, [1, 2]), plain)
    np.testing.assert_allclose(similarities(-scores, truth, [1, 2]), -plain)
    assert (similarities(scores + 1, truth, [1, 2]) - plain).abs().max().max() > 0.01


def test_rows_without_a_number_and_amounts_without_an_effect():
    scores, truth = rng.normal(size=(2, 10)), rng.normal(size=(3, 2, 10))
    truth[0] = 0  # no further training
    truth[1, 0, 4] = scores[1, 6] = np.nan
    curve, single = (
        similarity_curve(scores, truth, [0, 1, 2]),
        similarities(scores, truth, [0, 1, 2]),
    )
    assert single.loc[0].isna().all()
    assert curve["n_queries"].tolist() == [0, 2, 2]
    judged = np.delete(np.arange(10), 4)
    assert single.loc[1, 0] == pytest.approx(
        1 - cosine_distance(scores[0, judged], truth[1, 0, judged])
    )
    judged = np.delete(np.arange(10), 6)
    assert single.loc[2, 1] == pytest.approx(
        1 - cosine_distance(scores[1, judged], truth[2, 1, judged])
    )


def test_a_single_query_comes_without_its_axis():
    scores, truth = rng.normal(size=8), rng.normal(size=(3, 8))
    pd.testing.assert_frame_equal(
        similarities(scores, truth, [1, 2, 3]),
        similarities(scores[None], truth[:, None], [1, 2, 3]),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones((4, 3)), np.ones(4)), r"truth must have shape \(4, 2, 3\)"),
        ((np.ones(3), np.ones((4, 2)), np.ones(4)), r"truth must have shape \(4, 1, 3\)"),
        ((np.ones(3), np.ones((4, 3)), np.ones(5)), r"truth must have shape \(5, 1, 3\)"),
        ((np.ones(3), np.ones((4, 3)), 1.0), r"amounts should be a 1d array, got .* \(\)"),
        ((np.ones(3), np.ones((1, 3)), [np.nan]), "amounts must not hold NaN"),
        ((np.ones(3), np.full((1, 3), np.inf), [1]), "Input truth contains infinity"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        similarity_curve(*arguments)
