"""Class probabilities that another classifier gave, and the labels beside them."""

import numpy as np
import pandas as pd

from sam_attribution._as_arrays import values_of
from sam_attribution._validation import (
    check_column,
    check_labels,
    check_length,
    check_numbers,
    classes_of,
)

_ROUNDING = 1e-2


def given_probabilities(y, proba, classes):
    """Return classes (sorted), codes of `y` among them, and probabilities in their order.

    Parameters
    ----------
    y, proba, classes : as for :func:`sam_attribution.detection.label_issues`

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    codes : ndarray of int, shape (n_samples,)
    proba : ndarray of shape (n_samples, n_classes)
        A row that has NaN anywhere has it everywhere.
    """
    y = check_labels(y)
    names = _names_of_columns(y, proba, classes)
    _check_distinct(names)
    proba = check_numbers(proba, "proba")
    _check_axes(proba)
    check_length(proba, "proba", len(y))
    if len(names) != proba.shape[1]:
        raise ValueError(
            f"proba must have one column for each of the {len(names)} classes, got "
            f"{proba.shape[1]}. {_remedy(proba)}"
        )
    classes, order = np.unique(names, return_index=True)
    _check_labels_among(classes, y)
    _check_rows(proba)
    proba = np.where(np.isnan(proba).any(1, keepdims=True), np.nan, proba)
    return classes, np.searchsorted(classes, y), proba[:, order]


def _names_of_columns(y, proba, classes):
    if classes is not None:
        return check_column(classes, "classes")
    if isinstance(proba, pd.DataFrame):
        return np.asarray(values_of(proba.columns, "columns of proba"))
    return np.unique(y)


def _check_axes(proba):
    if proba.ndim != 2:
        raise ValueError(
            f"proba should be a 2d array, got an array of shape {proba.shape} instead. "
            f"{_remedy(proba)}"
        )


def _remedy(proba):
    if proba.ndim == 1 or proba.shape[1] == 1:
        return (
            "If p is the probability of the second of two classes, pass np.column_stack([1 - "
            "p, p])."
        )
    return "Say what its columns stand for: classes=classifier.classes_."


def _check_distinct(names):
    if len(classes_of(names, "classes")) < len(names):
        raise ValueError(f"classes must name each column of proba once, got {names.tolist()}.")


def _check_labels_among(classes, y):
    unknown = sorted(set(y.tolist()) - set(classes.tolist()))
    if unknown:
        raise ValueError(
            f"y holds labels that no column of proba stands for: {unknown[:5]}; the columns are "
            f"{classes.tolist()[:5]}. Say what they stand for: classes=classifier.classes_."
        )
    if len(np.unique(y)) < 2:
        raise ValueError(f"y must hold at least two classes, got {y.tolist()[0]!r} in every row.")


def _check_rows(proba):
    """Raise a ValueError unless the rows are probabilities or NaN, up to rounding."""
    known = np.flatnonzero(~np.isnan(proba).any(1))
    if not len(known):
        raise ValueError("proba must hold probabilities, but every row has NaN.")
    lowest, total = proba[known].min(1), proba[known].sum(1)
    bad = known[(lowest < 0) | (abs(total - 1) > _ROUNDING)]
    if len(bad):
        raise ValueError(
            f"proba must hold probabilities that sum to 1 in each row, got {proba[bad[0]][:5]} "
            f"in row {bad[0]}, one of {len(bad)} such rows. Apply a softmax to scores and np.exp "
            "to logarithms. Divide other rows by their sum."
        )
