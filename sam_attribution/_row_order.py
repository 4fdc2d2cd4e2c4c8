"""The order of rows in tables, labels and weights that belong together."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from sam_attribution._warnings import warn


@dataclass(frozen=True)
class Axis:
    """An axis of an argument, its pandas index (None if it has none), and code for a message.

    `of_index` is the index, `arranged` the argument in the order of another index, `sorted` the
    argument in the order of its own.
    """

    name: str
    index: pd.Index | None
    kind: str
    of_index: str
    arranged: str
    sorted: str


def rows_of(name, data):
    """The first axis of an argument."""
    index = data.index if hasattr(data, "iloc") else None
    code = f"{name}.index", f"{name}.loc[{{}}]", f"{name}.sort_index()"
    return Axis(name, index, "index", *code)


def entries_of(name, data):
    """The last axis of an argument: the columns of a table."""
    if not hasattr(data, "columns"):
        return rows_of(name, data)
    code = f"{name}.columns", f"{name}[{{}}]", f"{name}.sort_index(axis=1)"
    return Axis(name, data.columns, "columns", *code)


def check_order(**columns):
    """Raise a ValueError if two of the arguments hold the same pandas index in another order.

    They are paired by position, as in scikit-learn. A warning if two indices differ and have some
    labels in common: neither is one that pandas gives by default.
    """
    axes = [rows_of(name, data) for name, data in columns.items()]
    for one, other in combinations([axis for axis in axes if axis.index is not None], 2):
        _refuse_other_order(one, other)
        _warn_of_overlap(one.name, one.index, other.name, other.index)


def check_results(rows, **results):
    """Raise a ValueError as :func:`check_order` does for all of the arguments, those of a dict too.

    `rows` without an index are in their order. Beside them the index of a result must not hold 0 to
    n - 1 in another order, as ``issues_`` does, which is sorted by score.
    """
    check_order(**rows, **results)
    for name, data in results.items():
        _refuse_unsorted(rows_of(name, data), *(rows_of(*argument) for argument in rows.items()))


def check_paired(result, other):
    """The same for an axis of a result and another one, made by :func:`rows_of` or the like."""
    _refuse_other_order(result, other)
    _refuse_unsorted(result, other)


def check_tables(**pair):
    """The same for both axes of two results of one shape."""
    for axis in (rows_of, entries_of):
        one, other = (axis(*argument) for argument in pair.items())
        check_paired(one, other)
        check_paired(other, one)


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


def check_order_of_labels(labels, indices, positions, index):
    """Raise a ValueError for labels in another order than the rows that they are for.

    These have `positions` among the rows of ``fit``, which `indices` named, and of which the
    `index` was kept, if any.
    """
    given = rows_of("labels", labels)
    if given.index is None or _is_default(given.index):
        return
    rows = rows_of("indices", indices)
    candidates = [rows]
    if isinstance(index, pd.Index):
        of_rows = replace(rows, name="X", index=index[positions], of_index="X.index[indices]")
        candidates.append(of_rows)
    candidates.append(replace(rows, index=pd.Index(positions), of_index="indices"))
    if not any(each.index is not None and given.index.equals(each.index) for each in candidates):
        for each in candidates:
            _refuse_other_order(each, given)


def _refuse_other_order(one, other):
    if one.index is None or other.index is None or one.index.equals(other.index):
        return
    if len(one.index) == len(other.index) and _same_set(one.index, other.index):
        paired = "columns" if other.kind == "columns" else "rows"
        raise ValueError(
            f"{one.name} and {other.name} have the same {other.kind} in another order, but "
            f"{paired} are paired by position. Pass {other.arranged.format(one.of_index)}, or "
            f"{other.name}.to_numpy() if the positions are right."
        )


def _refuse_unsorted(result, *others):
    bare = [other.name for other in others if other.index is None]
    if bare and result.index is not None and _is_unsorted(result.index):
        raise ValueError(
            f"{result.of_index} holds 0 to {len(result.index) - 1} in another order, as in a table "
            f"sorted by score, but {result.name} and {bare[0]} are paired by position. Pass "
            f"{result.sorted}, or {result.name}.to_numpy() if the positions are right."
        )


def _is_unsorted(index):
    is_integer = getattr(index.dtype, "kind", "") in tuple("iu")
    if not is_integer or index.is_monotonic_increasing:
        return False
    return np.array_equal(np.sort(index), np.arange(len(index)))


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
