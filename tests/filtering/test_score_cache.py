import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from sam_attribution._warnings import recorded_warnings, warn
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.filtering import FilteredClassifier
from sam_attribution.filtering._score_cache import _STORE, fitted_scores
from sam_attribution.training import SAMClassifier


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
    with pytest.warns(UserWarning, match="content of Stream or of its data cannot be compared"):
        scores, suspicious = fitted_scores(scorer, X, y, {}, memory="auto", random_state=0)
    np.testing.assert_array_equal(scores, 0)
    assert suspicious is None


class Doubtful(BaseEstimator):
    """Warns of its scores."""

    n_fits = 0

    def fit(self, X, y):
        Doubtful.n_fits += 1
        warn("doubt one")
        warn("doubt two", RuntimeWarning)
        self.scores_ = np.asarray(X)[:, 0]
        return self


def said_by(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(str(each.message), each.category, each.filename) for each in caught]


def fit_doubtful(memory):
    X, y = np.arange(12.0).reshape(12, 1) / 12 * [1, 2], np.arange(12) % 2
    classifier = SAMClassifier(max_epochs=1)
    FilteredClassifier(
        classifier, scorer=Doubtful(), removal_fraction=0.1, memory=memory, random_state=0
    ).fit(X, y)


@pytest.mark.parametrize("on_disk", [False, True])
def test_warnings_come_again_with_scores_out_of_the_cache(tmp_path, on_disk):
    Doubtful.n_fits = 0
    memory = str(tmp_path) if on_disk else "auto"
    _STORE._entries.clear()
    first = said_by(lambda: fit_doubtful(memory))
    if on_disk:
        _STORE._entries.clear()  # as another process
    second = said_by(lambda: fit_doubtful(memory))
    assert Doubtful.n_fits == 1
    assert [line[:2] for line in first] == [
        ("doubt one", AttributionWarning),
        ("doubt two", RuntimeWarning),
    ]
    assert second == first
    assert first[0][2] == __file__


def test_records_hold_what_was_issued_inside():
    def call():
        with recorded_warnings() as outer:
            warn("a")
            with recorded_warnings() as inner:
                warn("b")
        return outer, inner

    with pytest.warns(AttributionWarning):
        outer, inner = call()
    assert [message for message, _ in outer] == ["a", "b"]
    assert [message for message, _ in inner] == ["b"]
