"""Probabilities of true classes, calibrated by labels that were given through a transition."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

_SPREAD_OF_OFFSETS = 1.0
_SPREAD_OF_LOG_FACTORS = 1.5
_BOUNDS_OF_LOG_FACTORS = (-6, 4)
_BOUNDS_OF_OFFSETS = (-6, 6)
_MOST_OF_OTHERS = 0.25
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Rows with the same kinds of class scores.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Their positions.
    scores : list of ndarray of shape (m, n_classes)
        Class scores in any unit, each by another signal.
    memberships : ndarray of shape (n_rows, n_classes), optional
        Probabilities of the true classes of all rows, to which the classes were fitted.
    """

    rows: np.ndarray
    scores: list
    memberships: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the scores of a row are worth, as it was found for other rows.

    Attributes
    ----------
    factors : ndarray of shape (n_kinds,)
        Factor of each kind of scores.
    offsets : ndarray of shape (n_classes,)
    """

    factors: np.ndarray
    offsets: np.ndarray

    def log_probabilities(self, scores):
        """Log-probability (n, n_classes) of each class, from a list of scores (n, n_classes)."""
        centred = (each - each.mean(1, keepdims=True) for each in scores)
        logits = sum(f * each for f, each in zip(self.factors, centred, strict=True))
        return log_softmax(logits + self.offsets, axis=1)


class CalibratedClasses:
    """A model of the true classes of some rows, and its fit to the labels that they were given.

    The probability of class z is ``softmax_z(log prior_z + a_z + sum_k b_k s_kz)`` for scores s
    that are centred over the classes and have unit spread. The penalised likelihood of the given
    labels decides a and b: a is normal around 0, log b normal around log(2 / number of scores).

    Parameters
    ----------
    scores : list of ndarray of shape (m, n_classes)
    y : ndarray of int, shape (m,)
        Codes of the given labels.
    weights : ndarray of shape (m,)
    is_right : ndarray of bool, shape (m,)
        True for labels that are known to be right. If there are such, they decide a and b: all
        others weigh at most a quarter of them in the fit. How far classes overlap is then what
        right labels say, and what the others disagree beyond that is noise.
    log_prior : ndarray of shape (n_classes,)
    """

    def __init__(self, scores, y, weights, is_right, log_prior):
        # classes on the first axis: sums over them then run along the rows
        self._spreads = np.array([spread(each) for each in scores])
        self._scores = _side_by_side(scores)
        self._y, self._weights, self._is_right = y, weights.astype(np.float32), is_right
        self._counted = self._weights * _parts(self._weights, is_right)
        self._log_prior = log_prior.astype(np.float32)[:, None]
        self._middle = np.log(2 / len(scores))
        self.parameters = np.r_[np.full(len(scores), self._middle), np.zeros(len(log_prior))]

    def fit(self, transition):
        """Fit a and b, from where the last fit ended, and return the log-likelihood of the labels.

        It is penalised; beside labels that are right it is that of the others, not penalised.
        """
        bounds = [_BOUNDS_OF_LOG_FACTORS] * len(self._scores)
        bounds += [_BOUNDS_OF_OFFSETS] * len(self._log_prior)
        settings = {"maxiter": 25, "ftol": 1e-5}
        found = minimize(
            *(self._unlikelihood, self.parameters, (self._given(transition),)),
            **{"jac": True, "method": "L-BFGS-B", "bounds": bounds, "options": settings},
        )
        self.parameters = found.x
        unsure = ~self._is_right
        if unsure.all() or not unsure.any():
            return -found.fun
        return float((self._weights * self.log_likelihood(transition))[unsure].sum(dtype=float))

    def log_likelihood(self, transition):
        """Log-probability (m,) of each given label, at the last fit."""
        joint = self._classes(self.parameters) * self._given(transition)
        return np.log(np.maximum(joint.sum(0), _TINY))

    def posterior(self, transition):
        """Probability (m, n_classes) of each class to be the true one, given the label."""
        joint = self._classes(self.parameters) * self._given(transition)
        return (joint / np.maximum(joint.sum(0), _TINY)).T

    @property
    def calibration(self):
        """The :class:`Calibration` of the last fit, for rows with scores of the same kinds."""
        factors, offsets = np.split(self.parameters, [len(self._scores)])
        prior = self._log_prior[:, 0].astype(float)
        return Calibration(np.exp(factors) / self._spreads, offsets + prior)

    @property
    def probabilities(self):
        """Probability (m, n_classes) of each class, whatever the label, at the last fit."""
        return self._classes(self.parameters).T

    def log_probabilities(self, scores):
        """Log-probability (n, n_classes) of each class for rows with scores of another spread."""
        found = self._classes(self.parameters, _side_by_side(scores))
        return np.log(np.maximum(found, _TINY)).T

    def _given(self, transition):
        """Probability (n_classes, m) of the given label, per true class."""
        given = transition[:, self._y].astype(np.float32)
        right = self._is_right
        given[:, right] = np.eye(len(given), dtype=np.float32)[:, self._y[right]]
        return given

    def _classes(self, parameters, scores=None):
        """Probabilities (n_classes, m) of the classes."""
        scores = self._scores if scores is None else scores
        factors, offsets = np.split(parameters.astype(np.float32), [len(scores)])
        logits = (np.exp(factors) @ scores).reshape(len(offsets), -1)
        logits += self._log_prior + offsets[:, None]
        logits -= logits.max(0)
        np.exp(logits, out=logits)
        logits /= logits.sum(0)
        return logits

    def _unlikelihood(self, parameters, given):
        """Penalised negative log-likelihood, and its gradient in log b and a."""
        factors, offsets = np.split(parameters, [len(self._scores)])
        classes = self._classes(parameters)
        likelihood = np.maximum(np.einsum("cm,cm->m", classes, given), _TINY)
        pull = given / likelihood
        pull -= 1
        pull *= classes
        pull *= self._counted
        away = (factors - self._middle) / _SPREAD_OF_LOG_FACTORS, offsets / _SPREAD_OF_OFFSETS
        value = -(self._counted * np.log(likelihood)).sum(dtype=float)
        slopes = -np.exp(factors) * (self._scores @ pull.ravel())
        return value + sum(each @ each for each in away) / 2, np.r_[
            slopes + away[0] / _SPREAD_OF_LOG_FACTORS,
            -pull.sum(1, dtype=float) + away[1] / _SPREAD_OF_OFFSETS,
        ]


def _parts(weights, is_right):
    """Part of its weight that each row has in the fit."""
    if is_right.all() or not is_right.any():
        return np.ones(len(weights), np.float32)
    most = _MOST_OF_OTHERS * weights[is_right].sum() / max(weights[~is_right].sum(), _TINY)
    return np.where(is_right, 1, min(most, 1)).astype(np.float32)


def _side_by_side(scores):
    """Kinds of scores (n_kinds, n_classes * m), each of unit spread."""
    return np.stack([standardised(each).T.ravel() for each in scores])


def standardised(scores, by=None):
    """Scores of mean 0 over the classes, divided by their spread, or another one; float32."""
    centred = scores - scores.mean(1, keepdims=True)
    return (centred / (spread(scores) if by is None else by)).astype(np.float32)


def spread(scores):
    """Spread of scores (n, n_classes) around the mean of each row, over all rows."""
    return max(float((scores - scores.mean(1, keepdims=True)).std()), 1e-9)
