"""Checks that all figures share."""

import numpy as np
from sklearn.utils import check_array

from sam_attribution._validation import from_tensor


def one_row_per_query(values, name):
    """Float array of shape (n_query, n_samples); a single query may come without its axis."""
    values = numbers(values, name)
    if values.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, got shape {values.shape}.")
    return np.atleast_2d(values)


def one_number_per_row(values, name):
    """Float array of shape (n_samples,)."""
    values = numbers(values, name)
    if values.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got shape {values.shape}.")
    return values


def numbers(values, name):
    """Float array of one dimension or more, NaN allowed, infinity not."""
    values = from_tensor(values, name)
    if np.isscalar(values):
        raise ValueError(f"{name} must have one dimension or more, got {values!r}.")
    return check_array(
        values,
        ensure_2d=False,
        allow_nd=True,
        dtype="float64",
        ensure_all_finite="allow-nan",
        input_name=name,
    )


def mask(values, name):
    """Boolean array; ValueError for what is neither boolean nor 0 and 1, such as row numbers."""
    values = check_array(
        from_tensor(values, name), ensure_2d=False, allow_nd=True, dtype=None, input_name=name
    )
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must hold True and False only, got {np.unique(values)[:5]}.")
    return values.astype(bool)
