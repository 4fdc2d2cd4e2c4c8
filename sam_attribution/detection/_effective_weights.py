"""Weights of rows in a likelihood: how many rows they are worth together."""

import numpy as np


def effective_weights(weights):
    """Weights whose sum is the effective number of rows, ``(sum w)^2 / sum w^2``.

    Equal weights become 1, and rows of weight 0 count as if they were not there. A few heavy rows
    are then not taken for as many as there are rows, and intervals stay as wide as they should be.

    Parameters
    ----------
    weights : array-like of shape (n,)
        Of any unit; their sum is positive.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> from sam_attribution.detection._effective_weights import effective_weights
    >>> effective_weights([5, 5, 0, 0])
    array([1., 1., 0., 0.])
    """
    relative = np.asarray(weights, float) / np.max(np.abs(weights))  # no sum of them overflows
    return relative * relative.sum() / (relative**2).sum()
