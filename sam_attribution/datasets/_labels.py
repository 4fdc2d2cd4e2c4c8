"""What all label noise shares: labels as codes, the number of flips, the noisy copy."""

from numbers import Real

import numpy as np
from sklearn.utils import assert_all_finite, column_or_1d

from sam_attribution._validation import classes_of, from_tensor


def encoded(y):
    """Return `y` as an array, its sorted classes and the code of each row's class."""
    y = column_or_1d(from_tensor(y, "y"))
    assert_all_finite(y, input_name="y")
    classes = classes_of(y)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes to flip between, got {len(classes)}.")
    return y, classes, np.searchsorted(classes, y)


def count_of(fraction, n_samples):
    """Return the number of rows that `fraction` stands for, ``round(fraction * n_samples)``."""
    if not isinstance(fraction, Real) or not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be a number from 0 to 1, got {fraction!r}.")
    return round(fraction * n_samples)


def relabelled(y, rows, labels):
    """Return a copy of `y` with new `labels` at `rows`, and the mask of those rows."""
    y_noisy, changed = y.copy(), np.zeros(len(y), dtype=bool)
    y_noisy[rows], changed[rows] = labels, True
    return y_noisy, changed
