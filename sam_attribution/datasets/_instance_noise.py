"""Label noise that looks at the row: hard rows flip more often, and to what they resemble."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, check_random_state

from sam_attribution._validation import from_tensor, refusing_overflow
from sam_attribution.datasets._labels import count_of, encoded, relabelled


def instance_dependent_noise(X, y, fraction, *, random_state=None):
    """Give rows near other classes the label of a class they resemble.

    Parameters
    ----------
    X : array-like of shape (n_samples, ...)
        Inputs, finite; more than two dimensions are flattened. Not changed.
    y : array-like of shape (n_samples,)
        Labels of any type that sorts, at least two rows per class. Not changed.
    fraction : float
        Share of the rows to change, from 0 to 1: exactly ``round(fraction * n_samples)`` rows.
    random_state : int, RandomState instance or None, default=None
        Draws the folds, the rows and their new labels.

    Returns
    -------
    y_noisy : ndarray of shape (n_samples,)
        Labels with the changed ones in place.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `X` is not finite, `fraction` lies outside [0, 1], or `y` holds fewer than two classes
        or a class with a single row.

    Notes
    -----
    Let ``p[i, c]`` be the held-out probability of class c for row i: a logistic regression on
    standardised features, in (up to) 5 stratified folds. Rows are drawn one after the other
    without replacement, each draw in proportion to ``1 - p[i, y[i]]``; a drawn row becomes class
    ``c != y[i]`` with probability ``p[i, c] / (1 - p[i, y[i]])``. Cost: 5 logistic regressions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution.datasets import instance_dependent_noise
    >>> X, y = load_iris(return_X_y=True)
    >>> y_noisy, changed = instance_dependent_noise(X, y, 0.1, random_state=0)
    >>> int((changed & (y == 0)).sum()), int(changed.sum())  # setosa stands apart
    (0, 15)
    """
    with refusing_overflow("X"):
        X = check_array(from_tensor(X, "X"), allow_nd=True, input_name="X")
    y, classes, codes = encoded(y)
    check_consistent_length(X, y)
    rng, n_changed = check_random_state(random_state), count_of(fraction, len(y))
    resemblance = _other_class_probabilities(X.reshape(len(X), -1), codes, rng)
    # n exponential clocks of rate r ring in the order of draws in proportion to r
    rings = rng.standard_exponential(len(y)) / resemblance.sum(axis=1)
    rows = np.argsort(rings, kind="stable")[:n_changed]
    return relabelled(y, rows, classes[_draw_columns(resemblance[rows], rng)])


def _other_class_probabilities(X, codes, rng):
    """Held-out probabilities, shape (n_samples, n_classes); 0 for the row's own class only."""
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
