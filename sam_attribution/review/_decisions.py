"""`apply_decisions`: the CSV of a review page, applied to the rows it is about."""

import csv as csv_format
import io
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pandas as pd

from sam_attribution._validation import check_length, from_tensor, num_samples, take_rows
from sam_attribution.review._written_labels import WrittenLabels, label_token

_COLUMNS = ("row", "given", "decision", "label")
_DECISIONS = ("keep", "relabel", "remove")


def apply_decisions(X, y, csv, *, classes=None):
    r"""Change labels and drop rows as a person decided on the review page.

    Parameters
    ----------
    X : array-like, sparse matrix, tensor or DataFrame of n_samples rows
        The rows that the page was made of, in the same order.
    y : array-like of shape (n_samples,)
        Their labels as they were given.
    csv : path-like, str or text file
        What the page exports, with the columns row (position, from 0), given, suggested, decision
        (keep, relabel or remove) and label (the label from now on); others are not read. Labels
        are written as :func:`~sam_attribution.review.label_token` does; one typed without quotes
        is understood if it can mean one label only. Commas, semicolons and tabs separate.
    classes : array-like or None, default=None
        Further labels that rows may get, beside those in `y`: the page's ``classes``.

    Returns
    -------
    X, y : of the types that came
        New objects without the removed rows; rows without a decision stay as they are, an index
        stays with its row. For the positions that stay pass ``np.arange(len(y))`` as `X`.

    Raises
    ------
    ValueError
        If the decisions are not about these rows: a row that is not there or comes twice, a given
        label other than that in `y`, an unknown decision or label, a missing column. The message
        names the line and the row. Then nothing has been changed.

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
    n_samples = num_samples(X)
    _check_y(y, n_samples)
    values = from_tensor(y, "y")
    values = values.array if isinstance(values, pd.Series) else values
    labels = WrittenLabels([*values, *(() if classes is None else classes)])
    decisions = [_checked(entry, values, labels) for entry in _entries(csv)]
    _check_once(decisions)
    new = {d.row: d.label for d in decisions if d.decision == "relabel"}
    stays = np.ones(n_samples, dtype=bool)
    stays[[d.row for d in decisions if d.decision == "remove"]] = False
    kept = np.flatnonzero(stays)
    return take_rows(X, kept), take_rows(_relabelled(y, new), kept)


@dataclass(frozen=True)
class _Decision:
    line: int
    row: int
    decision: str
    label: object


def _check_y(y, n_samples):
    if np.ndim(y) != 1 and not isinstance(y, list | tuple):
        raise ValueError(f"y must have one dimension, got an array of shape {np.shape(y)}.")
    check_length(y, "y", n_samples)


def _entries(csv):
    """Pairs of line number and dict of the CSV."""
    if isinstance(csv, str | PathLike):
        with open(csv, encoding="utf-8", newline="") as file:
            yield from _entries(file)
        return
    lines = list(io.StringIO(csv.read().removeprefix("\ufeff"), newline=""))
    header = lines[0] if lines else ""
    reader = csv_format.DictReader(lines, delimiter=max(",;\t", key=header.count))
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f"csv must have the columns {', '.join(_COLUMNS)}, got {reader.fieldnames}: "
            f"{', '.join(missing)} not found. Export it from the review page."
        )
    for entry in reader:
        yield reader.line_num, {name: (entry[name] or "").strip() for name in _COLUMNS}


def _checked(numbered, y, labels):
    """One entry as a :class:`_Decision`; raise unless it is about a row of `y`."""
    line, entry = numbered
    where, text = f"csv, line {line} (row {entry['row']})", entry["row"]
    if not text.isdecimal() or int(text) >= len(y):
        raise ValueError(
            f"{where}: row must be a position from 0 to {len(y) - 1}, got {text!r}. Pass the X and "
            "y that the page was made of."
        )
    row = int(text)
    if not labels.means(entry["given"], y[row]):
        raise ValueError(
            f"{where}: the given label must be that of y, got {entry['given'] or 'nothing'} where "
            f"y has {label_token(y[row])}. Pass the y that the page was made of, "
            "not a corrected one."
        )
    if entry["decision"] not in _DECISIONS:
        raise ValueError(
            f"{where}: decision must be one of {', '.join(_DECISIONS)}, got {entry['decision']!r}."
        )
    label = labels.read(entry["label"], where) if entry["decision"] == "relabel" else None
    return _Decision(line, row, entry["decision"], label)


def _check_once(decisions):
    lines = {}
    for decision in decisions:
        first = lines.setdefault(decision.row, decision.line)
        if first != decision.line:
            raise ValueError(
                f"csv, line {decision.line} (row {decision.row}): a row must have one decision, "
                f"got another in line {first}. Keep one of them."
            )


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
    if isinstance(y, pd.Series):
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
