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
    splitter needs `groups` and there are none, or gives no splits or no positions of rows.
    """
    if isinstance(validation, ValidationData):
        return [Split(np.arange(len(y)), validation.X, validation.y, np.arange(0))]
    splits = []
    drawn = _splitter(validation, y, targets, seed)
    pairs = drawn.split(X, y) if drawn is not validation else pairs_of(validation, X, y, groups)
    for number, pair in enumerate(pairs):
        train, held_out = (_positions(part, len(y), number, validation) for part in pair)
        train = np.sort(train)
        targets.check_split(number, y[train])
        splits.append(Split(train, take_rows(X, held_out), y[held_out], held_out, number == 0))
    if not splits:
        raise ValueError(
            f"validation={validation!r:.50} gives no split, and at least one is needed. Pass a "
            "fraction, a number of folds, ValidationData(X, y) or another splitter."
        )
    check_groups_stay_whole(validation, splits, groups)
    return splits


def _positions(part, n_samples, number, validation):
    """Positions of one side of a split, which may be a mask; a ValueError if they are none."""
    positions = np.asarray(part)
    if positions.dtype == bool and positions.shape == (n_samples,):
        positions = np.flatnonzero(positions)
    if not len(positions):
        raise ValueError(
            f"validation={validation!r:.50} has an empty side in split {number}: rows are needed "
            "to train on and to hold out. Use another splitter."
        )
    if positions.dtype.kind not in "iu" or positions.min() < 0 or positions.max() >= n_samples:
        raise ValueError(
            f"validation={validation!r:.50} must give positions from 0 to {n_samples - 1}, got "
            f"{positions.min()} to {positions.max()} of {positions.dtype} in split {number}. Was "
            "it made for other rows?"
        )
    return positions


def _splitter(validation, y, targets, seed):
    if isinstance(validation, Integral):
        return targets.folds(int(validation), y, seed)
    if isinstance(validation, Real):
        return targets.splitter(validation, y, seed)
    return validation
