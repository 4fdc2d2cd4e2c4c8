"""Rows of a table on the page: their cells as texts, and which values are unusual."""

import base64
from numbers import Number

import numpy as np
import pandas as pd

MOST_COLUMNS = 24
_UNUSUAL = 0.02  # share of the rows
_COMPARED = 10_000  # rows


def table_settings(frame, rows, columns):
    """Return what the page needs to draw the rows at `rows`, and a note to read.

    Of a table with more than ``MOST_COLUMNS`` columns each row shows those in which it is most
    unusual, unless `columns` names some.
    """
    frame = frame if columns is None else _chosen(frame, columns)
    shares = shares_as_extreme(frame, rows)
    is_wide = columns is None and frame.shape[1] > MOST_COLUMNS
    which = np.broadcast_to(np.arange(frame.shape[1]), shares.shape)
    if is_wide:
        which = np.argsort(shares, axis=1, kind="stable")[:, :MOST_COLUMNS]
    unusual = np.take_along_axis(shares, which, axis=1) <= _UNUSUAL
    settings = {
        "kind": "table",
        "columns": [str(name) for name in frame.columns],
        "cells": _cells(frame.iloc[rows], which),
        "which": _packed(which.astype("<i4")) if is_wide else None,
        "unusual": _packed(unusual.astype("u1")),
    }
    return settings, _note(frame, is_wide, unusual.any())


def shares_as_extreme(frame, rows):
    """Return how rare the values of some rows are, shape (len(rows), n_columns).

    Of a number it is the share of rows with one as far out on its side, twice; of anything else
    the share of rows with the same value.
    """
    compared = frame.iloc[:: -(-len(frame) // _COMPARED)]
    shares = [_share(compared.iloc[:, k], frame.iloc[rows, k]) for k in range(frame.shape[1])]
    return np.array(shares, dtype=float).reshape(frame.shape[1], len(rows)).T


def _share(column, values):
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        found = column.astype(str).value_counts(normalize=True)
        return values.astype(str).map(found).fillna(0)
    column, values = (np.asarray(v.astype(float), dtype=float) for v in (column, values))
    known = np.sort(column[~np.isnan(column)])
    below = np.searchsorted(known, values, side="right")
    above = len(known) - np.searchsorted(known, values, side="left")
    share = np.minimum(1, 2 * np.minimum(below, above) / max(1, len(known)))
    return np.where(np.isnan(values), 1 - len(known) / len(column), share)


def _chosen(frame, columns):
    columns = [columns] if isinstance(columns, str) else list(columns)
    if not columns:
        raise ValueError("columns must name at least one column of X, got none.")
    if missing := [name for name in columns if name not in frame.columns]:
        raise ValueError(
            f"columns must name columns of X, got {missing[0]!r}. X has "
            f"{', '.join(map(repr, frame.columns[:10]))}{', ...' if frame.shape[1] > 10 else ''}."
        )
    return frame[columns]


def _cells(frame, which):
    """Texts of the cells, a list for each place in a row."""
    values = {k: frame.iloc[:, k].tolist() for k in np.unique(which)}
    return [[_cell(values[k][row]) for row, k in enumerate(column)] for column in which.T]


def _cell(value):
    is_number = isinstance(value, Number) and not isinstance(value, bool | np.bool_ | complex)
    text = f"{value:.6g}" if is_number else str(value)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _note(frame, is_wide, has_unusual):
    shown = (
        f"Each row shows the {MOST_COLUMNS} of {frame.shape[1]} columns in which it is most "
        "unusual, the most unusual first."
    )
    bold = f"Bold: a value that at most {100 * _UNUSUAL:.0f} % of the rows have or exceed."
    return " ".join([*([shown] if is_wide else []), *([bold] if has_unusual else [])])


def _packed(values):
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
