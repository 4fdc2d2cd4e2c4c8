"""`apply_decisions`: the CSV of a review page, applied to the rows it is about."""

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from sam_attribution._as_arrays import values_of
from sam_attribution._row_order import check_order
from sam_attribution._row_source import RowSource
from sam_attribution._rows import dataset_as_source
from sam_attribution._validation import check_given, check_length, num_samples, take_rows
from sam_attribution.review._checked_decisions import checked_decisions
from sam_attribution.review._decision_file import decision_lines
from sam_attribution.review._row_identity import Rows, row_ids
from sam_attribution.review._written_labels import WrittenLabels, label_token


def apply_decisions(X, y, csv, *, classes=None, ids=None):
    r"""Change labels and drop rows as decided on the review page.

    Parameters
    ----------
    X : array-like, sparse matrix, tensor, DataFrame or Dataset of n_samples rows
        Rows that the page was made of, in the same order, or in any order if they have ids.
    y : array-like of shape (n_samples,)
        Given labels of the rows.
    csv : path-like, str, file or DataFrame
        What the page exports, in UTF-8, with the columns row (position, from 0), id, given,
        suggested, decision (keep, relabel, remove or unsure), label (the label from now on) and
        page; others are not read, and id and page may be missing. A row that somebody is unsure
        about stays as it is. Labels and ids are written as
        :func:`~sam_attribution.review.label_token` does; one typed without quotes is understood
        if it can mean one label only. Commas, semicolons and tabs separate. Empty lines are
        skipped.
    classes : array-like or None, default=None
        Further labels that rows may get, beside those in `y`: the page's ``classes``, and those
        that a reviewer has added. `y` must be able to hold them: pass ``y.astype(object)`` if a
        reviewer has added a name to integers.
    ids : array-like of shape (n_samples,) or None, default=None
        The page's ``ids``. None: the index of `X`, if it has one that names each row once.

    Returns
    -------
    X, y : of the types that came
        New objects without the removed rows; rows without a decision stay as they are, an index
        stays with its row. For the positions that stay pass ``np.arange(len(y))`` as `X`.

    Raises
    ------
    ValueError
        If the decisions are not about these rows: a row or an id that is not there or comes twice,
        a given label other than that in `y`, another page, an unknown decision or label, a missing
        column, another encoding. The message names the line and the row. Then nothing has been
        changed.

    Notes
    -----
    The column page tells the table of the page from others. A line with an id is found by it,
    if the table has the same ids and labels in any order; a line without one by its position, if
    the labels come in the same order, and the rows of `X` if they are those of the page.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from sam_attribution.review import apply_decisions
    >>> decided = io.StringIO(
    ...     "row,given,suggested,decision,label\n"
    ...     "0,3,5,relabel,5\n"
    ...     "1,3,5,keep,3\n"
    ...     "2,5,3,remove,\n"
    ... )
    >>> X, y = apply_decisions(np.array([[0.1], [0.2], [0.3]]), [3, 3, 5], decided)
    >>> X.ravel(), y
    (array([0.1, 0.2]), [5, 3])
    """
    X = dataset_as_source(X)
    n_samples = num_samples(X)
    _check_y(y, n_samples)
    check_order(X=X, y=y)
    values = _as_list(y, "y")
    labels = WrittenLabels([*values, *(() if classes is None else _as_list(classes, "classes"))])
    rows = Rows(X, [label_token(label) for label in values], row_ids(X, ids, n_samples))
    decisions = checked_decisions(decision_lines(csv), values, labels, rows)
    new = {d.row: d.label for d in decisions if d.decision == "relabel"}
    stays = np.ones(n_samples, dtype=bool)
    stays[[d.row for d in decisions if d.decision == "remove"]] = False
    kept = np.flatnonzero(stays)
    rows = take_rows(X, kept)
    rows = rows.given() if isinstance(rows, RowSource) else rows
    return rows, take_rows(_relabelled(y, new), kept)


def _check_y(y, n_samples):
    check_given(y)
    if np.ndim(y) != 1 and not isinstance(y, list | tuple):
        raise ValueError(f"y must have one dimension, got an array of shape {np.shape(y)}.")
    check_length(y, "y", n_samples)


def _as_list(labels, name):
    labels = values_of(labels, name)
    return labels.tolist() if hasattr(labels, "tolist") else list(labels)


def _relabelled(y, new):
    """Return a copy of `y` with other labels at some positions, of the same container."""
    if isinstance(y, list | tuple):
        return [new.get(position, label) for position, label in enumerate(y)]
    changed = _copy(y, new.values())
    at = changed.iloc if isinstance(changed, pd.Series) else changed
    for position, label in new.items():
        _put(at, position, label, y.dtype)
    return changed


def _copy(y, labels):
    if hasattr(y, "detach"):
        return y.clone()
    if isinstance(y, pd.Series | ExtensionArray):
        return y.copy()
    # wide enough for the new labels: an array of "<U3" would cut "horse"
    y = np.asarray(y)
    alike = [label for label in map(np.asarray, labels) if label.dtype.kind == y.dtype.kind]
    return y.astype(np.result_type(y, *alike), copy=True)


def _put(y, position, label, dtype):
    try:
        y[position] = label
        now = y[position].item() if hasattr(y[position], "detach") else y[position]
        fits = label_token(now) == label_token(label)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(
            f"label {label!r} does not fit into y of dtype {dtype}. Convert y to one that holds it."
        )
