"""Checks that all figures share."""

import numpy as np
from sklearn.utils import check_array


def one_row_per_query(values, name):
    """Float array of shape (n_query, n_samples); a single query may come without its axis."""
    values = check_array(
        values,
        ensure_2d=False,
        allow_nd=True,
        dtype="float64",
        ensure_all_finite="allow-nan",
        input_name=name,
    )
    if values.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, got shape {values.shape}.")
    return np.atleast_2d(values)


def judged_pairs(scores, truth):
    """Those entries of two vectors where both have a number; ValueError if less than two."""
    both = ~(np.isnan(scores) | np.isnan(truth))
    if both.sum() < 2:
        raise ValueError(f"scores and truth need two pairs without NaN, got {both.sum()}.")
    return scores[both], truth[both]
