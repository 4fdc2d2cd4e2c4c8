"""The rows with the lowest scores: how many, which ones, and never those without a score."""

from itertools import pairwise

import numpy as np
import pytest

from sam_attribution._ranking import lowest

SCORES = np.array([1.0, np.nan, 0.0, 0.0, 0.0, 2.0, np.nan, 1.0])  # 6 of 8 rows are judged


def test_the_share_counts_judged_rows():
    shares = np.arange(7) / 6
    assert [lowest(SCORES, share).sum() for share in shares] == [0, 1, 2, 3, 4, 5, 6]
    assert lowest(SCORES, 0.4).sum() == 2  # 2.4 rows; of all rows it would be 3


def test_equal_scores_go_in_the_order_of_the_rows():
    np.testing.assert_array_equal(np.flatnonzero(lowest(SCORES, 2 / 6)), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(lowest(SCORES, 4 / 6)), [0, 2, 3, 4])


def test_a_larger_share_marks_the_same_rows_and_more():
    masks = [lowest(SCORES, share) for share in np.linspace(0, 1, 13)]
    assert all(np.all(smaller <= larger) for smaller, larger in pairwise(masks))


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_row_without_a_score_is_never_low(share):
    assert not lowest(SCORES, share)[[1, 6]].any()
    assert not lowest(np.full(3, np.nan), share).any()


def test_infinite_scores_are_scores():
    assert lowest(np.array([np.inf, -np.inf, np.nan, 0.0]), 1).sum() == 3
    np.testing.assert_array_equal(np.flatnonzero(lowest(np.array([0, -np.inf]), 0.5)), [1])
