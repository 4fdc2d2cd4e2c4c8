"""How probable it is that targets of a regression are wrong, from their residuals."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from sam_attribution.detection._effective_weights import effective_weights
from sam_attribution.detection._noise_rates import interval_of, prior_of_rates

_RATES = np.r_[0, 0.001, 0.002, 0.004, 0.007, np.arange(0.01, 0.505, 0.01)]
_LOG_FREEDOM = (np.log(4), np.log(50))  # heavier tails would explain wrong targets
_LOG_SCALE = (-14, 3)
_LEAST_RATE = 1e-4
_TINY = 1e-300


class WrongTargets:
    """A mixture of right and wrong targets, averaged over the share of wrong ones.

    Residuals of right targets have a Student distribution around 0, of which scale and degrees of
    freedom are fitted at each share. A wrong target may lie anywhere in the range of targets.

    Parameters
    ----------
    residuals : ndarray of shape (n,)
        Target less prediction.
    y : ndarray of shape (n,)
    groups : list of ndarray of int
        Positions of rows whose residuals have one spread. Rows in no group are not judged.
    weights : ndarray of shape (n,), optional

    Attributes
    ----------
    log_odds : ndarray of shape (n,)
        Of a right target. NaN where not judged.
    share : float
        Mean probability of a wrong target.
    interval : tuple of float
        5th and 95th percentile of the share.

    Notes
    -----
    A share of 0 has a prior probability of 1/4, those up to 0.5 have the rest.
    """

    def __init__(self, residuals, y, groups, weights=None):
        spread = float(np.ptp(y))
        weights = np.ones(len(y)) if weights is None else effective_weights(weights)
        groups = [rows for rows in groups if len(rows)]
        parts = [_Group(residuals[rows] / spread, weights[rows]) for rows in groups]
        fits = [[part.fit(max(rate, _LEAST_RATE)) for part in parts] for rate in _RATES]
        log_evidence = np.array([sum(value for value, _, _ in each) for each in fits])
        weight = prior_of_rates(len(_RATES)) * np.exp(log_evidence - log_evidence.max())
        self.probabilities = weight / weight.sum()
        right, wrong = np.full((2, len(y)), np.nan)
        for rows, *found in zip(groups, *fits, strict=True):
            right[rows] = self.probabilities @ [each for _, each, _ in found]
            wrong[rows] = self.probabilities @ [each for _, _, each in found]
        self.log_odds = np.log(np.maximum(right, _TINY)) - np.log(wrong)
        self.share = float(np.nanmean(wrong))
        self.interval = interval_of(_RATES, self.probabilities)


class _Group:
    """Residuals of one spread, in units of the range of targets."""

    def __init__(self, residuals, weights):
        self._residuals, self._weights = residuals, weights
        typical = max(float(np.median(abs(residuals))), 1e-6)
        self._parameters = np.log([typical, 5])

    def fit(self, rate):
        """Log-likelihood at a share of wrong targets, and probabilities (m,) of right and wrong."""
        bounds = [_LOG_SCALE, _LOG_FREEDOM]
        found = minimize(self._unlikelihood, self._parameters, (rate,), bounds=bounds)
        self._parameters = found.x
        right = self._right(found.x, rate)
        return -found.fun, right / (right + rate), rate / (right + rate)

    def _right(self, parameters, rate):
        """Density of each residual as that of a right target, times their share."""
        scale, freedom = np.exp(parameters)
        constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(np.pi * freedom) / 2
        tail = np.log1p((self._residuals / scale) ** 2 / freedom) * (freedom + 1) / 2
        return (1 - rate) * np.exp(constant - tail) / scale

    def _unlikelihood(self, parameters, rate):
        return -float(self._weights @ np.log(self._right(parameters, rate) + rate))
