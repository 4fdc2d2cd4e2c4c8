"""Targets of any shape as an array of numbers."""

import re

import numpy as np
from sklearn.utils import assert_all_finite, check_array

from sam_attribution._as_arrays import PAD_TARGETS, refuse_ragged, values_of, without_nullable
from sam_attribution._validation import check_given, refusing_overflow


def target_array(y, name="y", dtype=None):
    """Array of shape (n_samples, ...): floats in `dtype`, whole numbers as int64, or booleans.

    A ValueError for NaN and infinity, a TypeError for what is no number.
    """
    check_given(y, name)
    refuse_ragged(y, name, PAD_TARGETS)
    with refusing_overflow(name), np.errstate(over="ignore"):
        array = _as_numbers(_checked(without_nullable(values_of(y, name)), name), name)
        if array.dtype.kind == "f" and dtype is not None:
            array = array.astype(dtype)
    assert_all_finite(array, input_name=name)  # the narrower type may hold less
    return array


def _checked(y, name):
    """scikit-learn's check, whose errors do not always name the argument."""
    rules = {"ensure_2d": False, "allow_nd": True, "dtype": None, "input_name": name}
    try:
        return check_array(y, **rules)
    except (ValueError, TypeError) as error:
        if re.search(rf"\b{name}\b", str(error)):
            raise
        raise type(error)(f"{name} must hold numbers for each row: {error}") from error


def _as_numbers(array, name):
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise _no_numbers(array, name) from error
    if array.dtype.kind in "iu":
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name} holds an integer that is too large: {array.max()}.")
        return array.astype(np.int64)
    if array.dtype.kind not in "bf":
        raise _no_numbers(array, name)
    return array if array.flags.writeable else array.copy()  # torch would warn


def _no_numbers(array, name):
    kinds = sorted({type(value).__name__ for value in array.ravel()[:1000].tolist()})
    return TypeError(
        f"{name} must hold numbers, got {', '.join(kinds)}. Turn labels into codes, or use "
        "SAMClassifier, which takes labels of any type."
    )
