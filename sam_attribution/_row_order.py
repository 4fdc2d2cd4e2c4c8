"""The order of rows in tables, labels and weights that belong together."""

from itertools import combinations

import pandas as pd

from sam_attribution._warnings import warn


def check_order(**columns):
    """Raise a ValueError if two of the arguments hold the same pandas index in another order.

    They are paired by position, as in scikit-learn. A warning if two indices differ and have some
    labels in common: neither is one that pandas gives by default.
    """
    indices = [(name, data.index) for name, data in columns.items() if hasattr(data, "iloc")]
    for (first, one), (second, other) in combinations(indices, 2):
        if len(one) == len(other) and not one.equals(other) and _same_set(one, other):
            raise ValueError(
                f"{first} and {second} have the same index in another order, but rows are paired "
                f"by position. Align them with {second}.loc[{first}.index], or pass "
                f"{second}.to_numpy() if the positions are right."
            )
        _warn_of_overlap(first, one, second, other)


def check_order_of_fit(index, **columns):
    """The same for columns beside the rows of ``fit``, of which the `index` was kept, if any."""
    if isinstance(index, pd.Index):
        check_order(X=pd.Series(0, index=index), **columns)


def check_positions(index, **columns):
    """Raise a ValueError for a pandas Index in the place of positions, unless labels are these."""
    for name, given in columns.items():
        of_labels = isinstance(given, pd.Index) and given.dtype != bool
        if of_labels and isinstance(index, pd.Index) and not _is_default(index):
            raise ValueError(
                f"{name} must be positions among the rows of fit, got a pandas Index, and the "
                f"labels of X are others. Pass X.index.get_indexer({name}), or "
                f"{name}.to_numpy() if these are positions."
            )


def check_columns(**tables):
    """Raise a ValueError if two tables hold the same columns in another order."""
    names = [(name, data.columns) for name, data in tables.items() if hasattr(data, "columns")]
    for (first, one), (second, other) in combinations(names, 2):
        if len(one) == len(other) and not one.equals(other) and _same_set(one, other):
            raise ValueError(
                f"{first} and {second} have the same columns in another order, but columns are "
                f"paired by position. Pass {second}[{first}.columns], or {second}.to_numpy() if "
                "the positions are right."
            )


def _warn_of_overlap(first, one, second, other):
    if len(one) != len(other) or one.equals(other) or _is_default(one) or _is_default(other):
        return
    try:
        n_common = int(one.isin(other).sum())
    except TypeError:  # of values that do not hash
        return
    if n_common:
        warn(
            f"{first} and {second} have different indices ({n_common} of {len(one)} labels in "
            f"common); rows are paired by position. Pass {second}.to_numpy() if that is right."
        )


def _is_default(index):
    return isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1)


def _same_set(one, other):
    try:
        return bool(one.isin(other).all() and other.isin(one).all())
    except TypeError:  # of values that do not hash
        return False
