"""Splits: the rows that a model is trained on, and those that it is judged by."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from sam_attribution._summary import summary
from sam_attribution._validation import take_rows
from sam_attribution.fitting._groups import check_groups_stay_whole, pairs_of
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

    __repr__ = summary


def make_splits(validation, X, y, targets, seed, groups=None):
    """Splits that ``validation=`` stands for; `seed` draws those of a fraction or of folds.

    Raises a ValueError if a class is too rare, or missing from what a split trains on; if a
    splitter needs `groups` and there are none.
    """
    if isinstance(validation, ValidationData):
        return [Split(np.arange(len(y)), validation.X, validation.y, np.arange(0))]
    splits = []
    drawn = _splitter(validation, y, targets, seed)
    pairs = drawn.split(X, y) if drawn is not validation else pairs_of(validation, X, y, groups)
    for number, (train, held_out) in enumerate(pairs):
        train = np.sort(train)
        targets.check_split(number, y[train])
        splits.append(Split(train, take_rows(X, held_out), y[held_out], held_out, number == 0))
    check_groups_stay_whole(validation, splits, groups)
    return splits


def _splitter(validation, y, targets, seed):
    if isinstance(validation, Integral):
        return targets.folds(int(validation), y, seed)
    if isinstance(validation, Real):
        return targets.splitter(validation, y, seed)
    return validation
