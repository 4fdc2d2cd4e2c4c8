"""From scores of classes to probabilities, and what the given labels say about them."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

_LOG_TEMPERATURES = (-4.0, 2.0)
_ROWS_FOR_TEMPERATURE = 4000
_TINY = 1e-12


def log_probabilities(scores, log_prior, sharpness):
    """Log of the mean over states of ``softmax(sharpness * scores + log_prior)``.

    Parameters
    ----------
    scores : ndarray of shape (n_states, n, n_classes)
    log_prior : ndarray of shape (n_classes,)
    sharpness : float

    Returns
    -------
    ndarray of shape (n, n_classes)
    """
    if len(scores) == 1:
        return log_softmax(sharpness * scores[0] + log_prior, axis=1)
    return logsumexp(log_softmax(sharpness * scores + log_prior, axis=2), axis=0) - np.log(
        len(scores)
    )


def log_posterior(log_p, y, transition):
    """Log-probability of each class to be the true one, given the label; (n, n_classes)."""
    return log_softmax(log_p + np.log(np.maximum(transition[:, y].T, _TINY)), axis=1)


def log_likelihood(log_p, y, transition):
    """Log-probability of the given labels, shape (n,)."""
    return np.log(np.maximum((np.exp(log_p) * transition[:, y].T).sum(1), _TINY))


def best_sharpness(scores, log_prior, y, transition, weights=None):
    """The sharpness under which the given labels are most probable, from up to 4000 rows."""
    rows = slice(None, None, -(-len(y) // _ROWS_FOR_TEMPERATURE))
    scores, y = scores[:, rows], y[rows]
    weights = None if weights is None else weights[rows]

    def unlikelihood(log_sharpness):
        log_p = log_probabilities(scores, log_prior, np.exp(log_sharpness))
        return -np.average(log_likelihood(log_p, y, transition), weights=weights)

    options = {"xatol": 0.03}
    found = minimize_scalar(
        unlikelihood, bounds=_LOG_TEMPERATURES, method="bounded", options=options
    )
    return np.exp(found.x)


def log_odds(log_p, y):
    """Log-odds of the given label against all the others, from log-probabilities; (n,)."""
    rows = np.arange(len(y))
    others = log_p.copy()
    others[rows, y] = -np.inf
    return log_p[rows, y] - logsumexp(others, axis=1)


def almost_identity(n_classes, share=0.001):
    """Labels that are as good as all right: a transition that no single row can break."""
    return (1 - share) * np.eye(n_classes) + share / n_classes
