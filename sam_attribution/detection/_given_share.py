"""How many labels are wrong, by probabilities that a classifier learned from these labels."""

import numpy as np
import torch

from sam_attribution.detection._calibrated_classes import CalibratedClasses, JudgedRows
from sam_attribution.detection._noise_share import NoiseShare
from sam_attribution.detection._transition import transition_matrix

_FLOOR = 0.04  # shared by the classes: what is smaller in a classifier's probabilities is chance
_SMALLEST_PART = 0.01  # of what a transition matrix mixes, that can be told apart again
_CERTAIN_PART = 0.9  # quantile of the rows of a class
_UNCERTAINTY = 0.07  # its prior mean there
_FEWEST_ROWS = 5


class GivenShare(NoiseShare):
    """What out-of-sample probabilities of any classifier say about the noise.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_classes)
    y, n_classes, weights, is_right : as for :class:`NoiseShare`

    Notes
    -----
    A classifier that was trained on the noisy labels estimates q, the probabilities of the *given*
    labels: q = p T for the probabilities p of the true classes and the transition matrix T. Each T
    with a p = q T^-1 that is nowhere negative then explains the labels equally well; so does no
    noise. Two things decide. Confusions of pairs of classes have two readings: one scores the
    classes by log q, for a classifier that learned right labels elsewhere, one by log p. And a
    prior says that each class has rows that certainly belong to it (anchor points [1]_).

    References
    ----------
    .. [1] Liu & Tao, Classification with Noisy Labels by Importance Reweighting, arXiv:1411.7718.
    """

    n_rounds = 15  # no class model is fitted again: rounds are cheap

    def __init__(self, proba, y, n_classes, weights, is_right):
        self._kinds = GivenScores(proba), _UnmixedScores(proba, y, np.where(is_right, 0, weights))
        super().__init__(self._kinds[0], y, n_classes, weights, is_right)

    def _confusions(self, judged, classes):
        found = []
        for kind in reversed(self._kinds):
            self._scores = kind
            for *reading, prior in super()._confusions(judged, classes):
                found.append((*reading, prior / len(self._kinds)))
        return found

    def _classes(self, judged):
        some = self._y, self._weights, self._is_right
        return ClassesWithCertainRows(judged.scores, *some, self._log_prior)


class GivenScores:
    """Log-probabilities as they are, whatever the true classes."""

    def __init__(self, proba):
        self._scores = _log(proba)

    def judged(self, memberships):
        return [JudgedRows(np.arange(len(self._scores)), [self._scores], memberships)]


class _UnmixedScores:
    """Log-probabilities of the true classes, which the transition to the labels has mixed."""

    def __init__(self, proba, y, weights):
        self._proba, self._y, self._weights = proba, y, weights

    def judged(self, memberships):
        counts = np.eye(self._proba.shape[1])
        np.add.at(counts.T, self._y, memberships * self._weights[:, None])
        transition = transition_matrix(torch.as_tensor(counts)).numpy()
        unmixed = self._proba @ np.linalg.pinv(transition, rcond=_SMALLEST_PART)
        return GivenScores(np.maximum(unmixed, 0)).judged(memberships)


def _log(proba):
    return np.log(proba + _FLOOR / proba.shape[1])


class ClassesWithCertainRows(CalibratedClasses):
    """Calibrated classes of which each is expected to be certain for a tenth of its rows.

    For each class, 1 less the 90th percentile of its probability among the rows that it fits best
    has an exponential prior of mean 0.07.
    """

    def fit(self, transition):
        """Fit, and return the log-likelihood with all priors."""
        return super().fit(transition) - uncertainty(self.probabilities, self._weights)


def uncertainty(probabilities, weights):
    """Negative log-prior of how certain the most certain rows of each class are.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
    weights : ndarray of shape (n_rows,)

    Returns
    -------
    float
        Classes that fit fewer than 5 rows best have no part in it.
    """
    best, largest = probabilities.argmax(1), probabilities.max(1)
    order = np.lexsort((largest, best))
    total = 0.0
    for rows in np.split(order, np.flatnonzero(np.diff(best[order])) + 1):
        weight = weights[rows].cumsum()
        if weight[-1] >= _FEWEST_ROWS:
            certain = rows[np.searchsorted(weight, _CERTAIN_PART * weight[-1])]
            total += (1 - largest[certain]) / _UNCERTAINTY
    return total
