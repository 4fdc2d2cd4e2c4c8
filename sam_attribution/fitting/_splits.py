"""Splits: the rows that a model is trained on, and those that it is judged by."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

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
    held_out : ndarray of int
        Where those are in the data given to ``fit``; empty for ``ValidationData``.
    is_first : bool, default=True
        False for all splits of a splitter but one.
    """

    train: np.ndarray
    X: object
    y: object
    held_out: np.ndarray
    is_first: bool = True


def make_splits(validation, X, y, targets, seed):
    """Splits that ``validation=`` stands for; `seed` draws the held-out part of a fraction.

    Raises a ValueError if a class is too rare, or missing from what a split trains on.
    """
    if isinstance(validation, ValidationData):
        return [Split(np.arange(len(y)), validation.X, validation.y, np.arange(0))]
    if isinstance(validation, Real):
        validation = targets.splitter(validation, y, seed)
    splits = []
    for number, (train, held_out) in enumerate(validation.split(X, y)):
        train = np.sort(train)
        targets.check_split(number, y[train])
        splits.append(Split(train, take_rows(X, held_out), y[held_out], held_out, number == 0))
    return splits
