"""What a model is trained on and what it is judged by."""

from dataclasses import dataclass
from math import ceil
from numbers import Real

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from sam_attribution._validation import take_rows
from sam_attribution.validation_data import ValidationData


@dataclass(frozen=True, eq=False)
class Split:
    """Positions trained on, and the rows to judge by.

    Attributes
    ----------
    train : ndarray of int
        Ascending.
    X, y : array-like
        Validation rows and labels.
    """

    train: np.ndarray
    X: object
    y: object


def make_splits(validation, X, y, seed):
    """Return the splits that ``validation=`` stands for.

    Parameters
    ----------
    validation : float, ValidationData or CV splitter
    X, y : array-like
    seed : int
        Draws the held-out part of a fraction.

    Raises
    ------
    ValueError
        If a class is too rare to be split, or a split trains on fewer classes than there are.
    """
    if isinstance(validation, ValidationData):
        return [Split(np.arange(len(y)), validation.X, validation.y)]
    if isinstance(validation, Real):
        _check_fraction(validation, y)
        validation = StratifiedShuffleSplit(1, test_size=validation, random_state=seed)
    splits = []
    for number, (train, held_out) in enumerate(validation.split(X, y)):
        train = np.sort(train)
        _check_classes(number, y[train], y)
        splits.append(Split(train, take_rows(X, held_out), y[held_out]))
    return splits


def _check_fraction(fraction, y):
    n_held_out, n_classes = ceil(fraction * len(y)), len(np.unique(y))
    n_train = len(y) - n_held_out
    if min(n_held_out, n_train) < n_classes:
        raise ValueError(
            f"validation={fraction} holds out {n_held_out} of {len(y)} rows and trains on "
            f"{n_train}, but each part needs a row of every one of the {n_classes} classes. Take "
            "another fraction, or pass ValidationData."
        )


def _check_classes(number, y_train, y):
    missing = np.setdiff1d(y, y_train)
    if len(missing):
        raise ValueError(
            f"validation split {number} trains without a row of class {missing.tolist()}. "
            "Use a stratified splitter, or merge rare classes."
        )
