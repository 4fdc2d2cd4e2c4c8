"""Transition matrix from true to given labels, estimated from counts."""

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

_MOST_WRONG = 0.95


def transition_matrix(counts, shape=None):
    """Transition matrix with an empirical-Bayes Gamma prior on each rate of wrong labels.

    Parameters
    ----------
    counts : Tensor of shape (n_classes, n_classes)
        Rows of true class z (first axis) with given label g, fractions allowed.
    shape : float, optional
        Shape of the Gamma distribution from which each rate of wrong labels is drawn: the larger,
        the more alike the rates are; infinite makes them equal. By default the most probable
        shape for these counts. A few real confusions then stand out, and many small ones become
        one rate.

    Returns
    -------
    Tensor of shape (n_classes, n_classes)
        Rows sum to 1; at most 95 % of a class are wrong.
    """
    like, counts = counts, counts.double().numpy()
    off = ~np.eye(len(counts), dtype=bool)
    exposure = np.broadcast_to(counts.sum(1)[:, None], counts.shape)
    rate = counts[off].sum() / max(exposure[off].sum(), 1e-12)
    if rate <= 0:
        return torch.eye(len(counts), dtype=like.dtype)
    shape = _most_probable_shape(counts[off], exposure[off] * rate) if shape is None else shape
    rates = np.full(counts.shape, rate)
    if np.isfinite(shape):
        rates = (counts + shape) / (exposure + shape / rate)  # posterior mean
    rates = np.where(off, rates, 0)
    rates *= np.minimum(1, _MOST_WRONG / np.maximum(rates.sum(1), 1e-12))[:, None]
    return torch.as_tensor(rates + np.diag(1 - rates.sum(1)), dtype=like.dtype)


def cost_of_own_rates(counts):
    """Log-probability that own rates of wrong labels cost beyond their best fit to `counts`.

    The counts are Poisson; their rates come from the Gamma distribution of
    :func:`transition_matrix`.

    Parameters
    ----------
    counts : ndarray of shape (n_classes, n_classes)

    Returns
    -------
    float
        0 or more.
    """
    off = ~np.eye(len(counts), dtype=bool)
    exposure, counts = np.broadcast_to(counts.sum(1)[:, None], counts.shape)[off], counts[off]
    expected = np.maximum(exposure * counts.sum() / max(exposure.sum(), 1e-12), 1e-9)
    some = counts[counts > 0]
    fitted = (some * np.log(some) - some).sum()
    shape = _most_probable_shape(counts, expected)
    drawn = gammaln(counts + shape) - gammaln(shape) + shape * np.log(shape / (shape + expected))
    drawn += counts * np.log(expected / (shape + expected))
    return max(float(fitted - drawn.sum()), 0.0)


def _most_probable_shape(counts, expected):
    """Return the best shape of the Gamma mixture of Poisson counts (negative binomial)."""

    def unlikelihood(log_shape):
        shape = np.exp(log_shape)
        known = (
            gammaln(counts + shape) - gammaln(shape) + shape * np.log(shape / (shape + expected))
        )
        return -(known + counts * np.log(expected / (shape + expected))).sum()

    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.maximum(expected, 1e-12)
        settings = {"bounds": (-4, 7), "method": "bounded", "options": {"xatol": 0.1}}
        found = minimize_scalar(unlikelihood, **settings)
        return np.exp(found.x)
