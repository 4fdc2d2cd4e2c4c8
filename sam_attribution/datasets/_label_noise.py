"""Label noise: symmetric, pairwise and instance-dependent."""

from numbers import Real

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_random_state,
)

from sam_attribution._as_arrays import from_tensor, refuse_repeated_columns
from sam_attribution._row_order import check_order
from sam_attribution._validation import classes_of, num_samples, refusing_overflow, target_column


def symmetric_noise(y, fraction, *, random_state=None):
    """Change the labels of random rows to any other class with equal probability.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any sortable type; they are not changed.
    fraction : float
        Share of the rows to change, from 0 to 1. Exactly ``round(fraction * n_samples)`` rows
        are changed.
    random_state : int, RandomState instance or None, default=None
        Seed for the rows and their new labels.

    Returns
    -------
    y_noisy : of the type of `y`, shape (n_samples,)
        Labels after the change. A Series keeps its index, name and dtype.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `fraction` lies outside [0, 1] or `y` holds fewer than two classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.datasets import symmetric_noise
    >>> y = np.array(["cat", "dog", "owl", "cat", "dog", "owl"])
    >>> y_noisy, changed = symmetric_noise(y, 0.5, random_state=0)
    >>> int(changed.sum()), bool((y_noisy[changed] != y[changed]).all())
    (3, True)
    """
    classes, codes = _encoded(y)
    rng = check_random_state(random_state)
    rows = rng.permutation(len(codes))[: _n_changed(fraction, len(codes))]
    steps = rng.randint(1, len(classes), size=len(rows))
    return _relabelled(y, rows, classes[(codes[rows] + steps) % len(classes)])


def pair_noise(y, fraction, *, random_state=None):
    """Change the labels of random rows to the next class; the last class becomes the first.

    This noise is harder to find than symmetric noise: all wrong labels of a class agree.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any sortable type, in sorted order of classes; they are not changed.
    fraction : float
        Share of the rows to change, from 0 to 1. Exactly ``round(fraction * n_samples)`` rows
        are changed.
    random_state : int, RandomState instance or None, default=None
        Seed for the rows.

    Returns
    -------
    y_noisy : of the type of `y`, shape (n_samples,)
        Labels after the change. A Series keeps its index, name and dtype.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `fraction` lies outside [0, 1] or `y` holds fewer than two classes.

    Examples
    --------
    >>> from sam_attribution.datasets import pair_noise
    >>> y_noisy, changed = pair_noise([0, 1, 2], 1.0)
    >>> y_noisy
    [1, 2, 0]
    """
    classes, codes = _encoded(y)
    rng = check_random_state(random_state)
    rows = rng.permutation(len(codes))[: _n_changed(fraction, len(codes))]
    return _relabelled(y, rows, classes[(codes[rows] + 1) % len(classes)])


def instance_dependent_noise(X, y, fraction, *, random_state=None):
    """Change the labels of rows that resemble another class to that class.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        Finite inputs; more than two dimensions are flattened. The array is not changed.
    y : array-like of shape (n_samples,)
        Labels of any sortable type, with at least two rows per class; they are not changed.
    fraction : float
        Share of the rows to change, from 0 to 1. Exactly ``round(fraction * n_samples)`` rows
        are changed.
    random_state : int, RandomState instance or None, default=None
        Seed for the folds, the rows and their new labels.

    Returns
    -------
    y_noisy : of the type of `y`, shape (n_samples,)
        Labels after the change. A Series keeps its index, name and dtype.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `X` is not finite, `fraction` lies outside [0, 1], or `y` holds fewer than two classes
        or a class with a single row.

    Notes
    -----
    Let ``p[i, c]`` be the cross-fitted probability of class c for row i, by a logistic regression
    on standardised features in (up to) 5 stratified folds. Rows are drawn one after the other
    without replacement, each draw in proportion to ``1 - p[i, y[i]]``; a drawn row becomes class
    ``c != y[i]`` with probability ``p[i, c] / (1 - p[i, y[i]])``. The cost is 5 logistic
    regressions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution.datasets import instance_dependent_noise
    >>> X, y = load_iris(return_X_y=True)
    >>> y_noisy, changed = instance_dependent_noise(X, y, 0.1, random_state=0)
    >>> int((changed & (y == 0)).sum()), int(changed.sum())  # setosa stands apart
    (0, 15)
    """
    check_order(X=X, y=y)
    refuse_repeated_columns(X, "X")
    with refusing_overflow("X"):
        X = check_array(from_tensor(X, "X"), allow_nd=True, input_name="X")
    classes, codes = _encoded(y)
    check_consistent_length(X, codes)
    n_changed, rng = _n_changed(fraction, len(codes)), check_random_state(random_state)
    resemblance = _other_class_probabilities(X.reshape(len(X), -1), codes, rng)
    # exponential variables of rate r sort in the order of draws in proportion to r
    times = rng.standard_exponential(len(codes)) / resemblance.sum(axis=1)
    rows = np.argsort(times, kind="stable")[:n_changed]
    return _relabelled(y, rows, classes[_draw_columns(resemblance[rows], rng)])


def _other_class_probabilities(X, codes, rng):
    """Cross-fitted probabilities, shape (n_samples, n_classes), with 0 for a row's own class."""
    smallest = np.bincount(codes).min()
    if smallest < 2:
        raise ValueError("y must hold at least two rows of every class, got a class with one.")
    folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=rng)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probabilities = cross_val_predict(model, X, codes, cv=folds, method="predict_proba")
    probabilities = np.maximum(probabilities, np.finfo(float).tiny)
    probabilities[np.arange(len(codes)), codes] = 0
    return probabilities


def _draw_columns(weights, rng):
    """One column index per row, drawn in proportion to the row's weights."""
    cumulative = weights.cumsum(axis=1)
    return (rng.random_sample((len(weights), 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1)


def _encoded(y):
    """Sorted classes, and the code of each row's class."""
    y = target_column(y, "y")
    assert_all_finite(y, input_name="y")
    classes = classes_of(y)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes to flip between, got {len(classes)}.")
    return classes, np.searchsorted(classes, y)


def _n_changed(fraction, n_samples):
    """Number of rows to change, ``round(fraction * n_samples)``."""
    if not isinstance(fraction, Real) or not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be a number from 0 to 1, got {fraction!r}.")
    return round(fraction * n_samples)


def _relabelled(y, rows, labels):
    """Copy of `y` with new `labels` at `rows`, of the same type, and the mask of those rows."""
    changed = np.zeros(num_samples(y), dtype=bool)
    changed[rows] = True
    if isinstance(y, list | tuple) and np.ndim(y) == 1:
        new = dict(zip(rows.tolist(), labels.tolist(), strict=True))
        return type(y)(new.get(row, label) for row, label in enumerate(y)), changed
    if hasattr(y, "detach"):
        noisy = y.detach().clone().reshape(-1)
        noisy[rows.tolist()] = noisy.new_tensor(labels.tolist())
        return noisy, changed
    if isinstance(y, pd.DataFrame):
        y = y.iloc[:, 0]
    is_of_pandas = isinstance(y, pd.Series | ExtensionArray)
    noisy = y.copy() if is_of_pandas else target_column(y, "y").copy()
    (noisy.iloc if isinstance(y, pd.Series) else noisy)[rows] = labels
    return noisy, changed
