import numpy as np
import pytest
from sklearn.base import BaseEstimator

from sam_attribution.filtering._score_cache import ScoreStore, fitted_scores


def test_the_oldest_scores_go_first():
    store = ScoreStore(max_bytes=3 * 80)
    for key in "abc":
        store.put(key, np.zeros(10))
    store.get("a")
    store.put("d", np.zeros(10))
    assert [key for key in "abcd" if store.get(key) is None] == ["b"]


def test_the_newest_scores_stay_however_large():
    store = ScoreStore(max_bytes=1)
    store.put("a", np.zeros(10))
    store.put("b", np.zeros(10))
    assert store.get("a") is None
    assert store.get("b") is not None


class Stream(BaseEstimator):
    """Holds what cannot be pickled."""

    def __init__(self, stream=None):
        self.stream = stream

    def fit(self, X, y):
        self.scores_ = np.zeros(len(X))
        return self


def test_what_cannot_be_told_is_scored_and_said():
    X, y = np.zeros((3, 1)), np.zeros(3)
    scorer = Stream(stream=(i for i in range(3)))
    with pytest.warns(UserWarning, match="content of Stream or of its data cannot be told"):
        scores = fitted_scores(scorer, X, y, {}, memory="auto", random_state=0)
    np.testing.assert_array_equal(scores, 0)
