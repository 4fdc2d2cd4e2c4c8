"""Probabilities of true classes, calibrated by labels that were given through a transition."""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from sam_attribution.detection._newton import newton_minimum

_SPREAD_OF_OFFSETS = 1.0
_SPREAD_OF_LOG_FACTORS = 1.5
_BOUNDS_OF_LOG_FACTORS = (-6, 4)
_BOUNDS_OF_OFFSETS = (-6, 6)
_MOST_OF_OTHERS = 0.25
_NUMBERS_AT_A_TIME = 2**17  # of scores: what the cache of a processor holds
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
        self._scores = _stacked(scores)
        self._y, self._weights, self._is_right = y, weights.astype(np.float32), is_right
        self._counted = self._weights * _parts(self._weights, is_right)
        self._log_prior = log_prior.astype(np.float32)[:, None]
        kinds = len(scores), len(log_prior)
        self._expected = np.repeat([np.log(2 / len(scores)), 0], kinds)
        self._precision = np.repeat([_SPREAD_OF_LOG_FACTORS**-2, _SPREAD_OF_OFFSETS**-2], kinds)
        self._bounds = np.repeat([_BOUNDS_OF_LOG_FACTORS, _BOUNDS_OF_OFFSETS], kinds, axis=0).T
        self.parameters = self._expected
        step = max(1, _NUMBERS_AT_A_TIME * len(y) // max(1, self._scores.size))
        self._batches = [slice(start, start + step) for start in range(0, max(len(y), 1), step)]

    def fit(self, transition):
        """Fit a and b, from where the last fit ended, and return the log-likelihood of the labels.

        It is penalised; beside labels that are right it is that of the others, not penalised.
        """
        given = self._given(transition)
        self.parameters, unlikelihood = newton_minimum(
            lambda at: self._unlikelihood(at, given), self.parameters, *self._bounds
        )
        unsure = ~self._is_right
        if unsure.all() or not unsure.any():
            return -unlikelihood
        return float((self._weights * self.log_likelihood(transition))[unsure].sum(dtype=float))

    def log_likelihood(self, transition):
        """Log-probability (m,) of each given label, at the last fit."""
        joint = self._classes(self._scores) * self._given(transition)
        return np.log(np.maximum(joint.sum(0), _TINY))

    def posterior(self, transition):
        """Probability (m, n_classes) of each class to be the true one, given the label."""
        joint = self._classes(self._scores) * self._given(transition)
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
        return self._classes(self._scores).T

    def log_probabilities(self, scores):
        """Log-probability (n, n_classes) of each class for rows with scores of another spread."""
        found = self._classes(_stacked(scores))
        return np.log(np.maximum(found, _TINY)).T

    def _given(self, transition):
        """Probability (n_classes, m) of the given label, per true class."""
        given = transition[:, self._y].astype(np.float32)
        right = self._is_right
        given[:, right] = np.eye(len(given), dtype=np.float32)[:, self._y[right]]
        return given

    def _slopes(self, parameters, scores):
        """Derivatives (n_kinds, n_classes, m) of the logits in log b: ``b_k s_kz``."""
        return scores * np.exp(parameters[: len(scores), None, None]).astype(np.float32)

    def _probabilities(self, parameters, slopes):
        """Probabilities (n_classes, m) of the classes."""
        offsets = parameters[len(slopes) :, None].astype(np.float32)
        logits = slopes.sum(0)
        logits += self._log_prior + offsets
        logits -= logits.max(0)
        np.exp(logits, out=logits)
        logits /= logits.sum(0)
        return logits

    def _classes(self, scores):
        return self._probabilities(self.parameters, self._slopes(self.parameters, scores))

    def _unlikelihood(self, parameters, given):
        """Penalised negative log-likelihood, its gradient and Hessian in log b and a."""
        parts = (self._part(parameters, given, rows) for rows in self._batches)
        value, gradient, hessian = (sum(each) for each in zip(*parts, strict=True))
        away = parameters - self._expected
        value += away @ (self._precision * away) / 2
        return value, gradient + self._precision * away, hessian + np.diag(self._precision)

    def _part(self, parameters, given, rows):
        """The negative log-likelihood of some rows, its gradient and Hessian."""
        slopes = self._slopes(parameters, self._scores[:, :, rows])
        classes = self._probabilities(parameters, slopes)
        posterior = classes * given[:, rows]
        likelihood = np.maximum(posterior.sum(0), _TINY)
        posterior /= likelihood
        weights = self._counted[rows]
        value = -(weights * np.log(likelihood)).sum(dtype=float)
        return value, *_derivatives(slopes, classes, posterior, weights)


def _derivatives(slopes, classes, posterior, weights):
    """Gradient and Hessian of the negative log-likelihood in log b and a."""
    n_kinds = len(slopes)
    pull = (classes - posterior) * weights
    pulled = slopes * pull
    cross = pulled.sum(2)
    gradient = np.concatenate([cross.sum(1), pull.sum(1)]).astype(float)
    hessian = _second_moments(slopes, posterior, weights)
    hessian -= _second_moments(slopes, classes, weights)
    hessian[:n_kinds, :n_kinds] += pulled.reshape(n_kinds, -1) @ slopes.reshape(n_kinds, -1).T
    hessian[:n_kinds, n_kinds:] += cross
    hessian[n_kinds:, :n_kinds] += cross.T
    hessian[np.diag_indices_from(hessian)] += gradient
    return gradient, hessian


def _second_moments(slopes, probabilities, weights):
    """Sum over rows of outer products of the mean derivatives of logits in log b and a."""
    rows = np.concatenate([np.einsum("kcm,cm->km", slopes, probabilities), probabilities])
    rows *= np.sqrt(weights)
    return rows @ rows.T


def _parts(weights, is_right):
    """Part of its weight that each row has in the fit."""
    if is_right.all() or not is_right.any():
        return np.ones(len(weights), np.float32)
    most = _MOST_OF_OTHERS * weights[is_right].sum() / max(weights[~is_right].sum(), _TINY)
    return np.where(is_right, 1, min(most, 1)).astype(np.float32)


def _stacked(scores):
    """Kinds of scores (n_kinds, n_classes, m), each of unit spread."""
    return np.ascontiguousarray(np.stack([standardised(each) for each in scores]).swapaxes(1, 2))


def standardised(scores, by=None):
    """Scores of mean 0 over the classes, divided by their spread, or another one; float32."""
    centred = scores - scores.mean(1, keepdims=True)
    return (centred / (spread(scores) if by is None else by)).astype(np.float32)


def spread(scores):
    """Spread of scores (n, n_classes) around the mean of each row, over all rows."""
    return max(float((scores - scores.mean(1, keepdims=True)).std()), 1e-9)
