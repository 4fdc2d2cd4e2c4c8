"""The rows behind single predictions, as a table to read."""

from numbers import Integral

import numpy as np

from sam_attribution._tables import ShownTable


def explanation(scores, labels, k, *, index=None, helpful=None):
    """Table of the `k` most harmful and the `k` most helpful rows of each query.

    Parameters
    ----------
    scores : ndarray of shape (n_queries, n_samples)
        NaN for rows that were not trained on: they are not shown.
    labels : ndarray of shape (n_samples, ...)
        The table has a column of them if each is one number or text.
    k : int
    index : Index of length n_samples, optional
        Names of the rows; without, the table has no such column.
    helpful : ndarray of shape (n_samples,), optional
        Labels with which the rows would help most; likewise.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        If `k` is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.influence._explanation import explanation
    >>> explanation(np.array([[-2.0, 0.5, 0.1]]), np.array(["cat", "dog", "cat"]), 1)
       query  rank  train_row label  score
    0      0     1          0   cat     -2
    1      0    -1          1   dog    0.5
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    ends = [_extremes(row, k) for row in scores]
    query = np.repeat(np.arange(len(ends)), [len(rows) for rows, _ in ends])
    rows = np.concatenate([np.empty(0, int), *(rows for rows, _ in ends)])
    rank = np.concatenate([np.empty(0, int), *(rank for _, rank in ends)])
    columns = {
        "query": query,
        "rank": rank,
        "train_row": rows,
        **({} if index is None else {"train_index": index[rows]}),
        **({"label": labels[rows]} if labels.ndim == 1 else {}),
        **({} if helpful is None else {"most_helpful_label": helpful[rows]}),
        "score": scores[query, rows],
    }
    return ShownTable(columns)


def most_active_epochs(spans, parts):
    """Text that names the epochs in which most of a score came about.

    The fewest spans that make up half of the parts with the sign of the score.

    Parameters
    ----------
    spans : list of (int, int)
        First and last epoch of each part.
    parts : ndarray of shape (n_parts,)
        The score is their sum.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.influence._explanation import most_active_epochs
    >>> most_active_epochs([(1, 1), (2, 3), (4, 4)], np.array([-0.1, -4.0, -3.0]))
    '2-3'
    >>> most_active_epochs([(1, 1), (2, 3), (4, 4)], np.array([-2.0, 1.0, -2.0]))
    '1'
    """
    distinct, of_part = np.unique(spans, axis=0, return_inverse=True)
    pulls = np.bincount(of_part.ravel(), parts * np.sign(parts.sum()))
    order = np.argsort(-pulls, kind="stable")
    half = pulls[pulls > 0].sum() / 2
    enough = int(np.argmax(np.cumsum(pulls[order]) >= half)) + 1
    epochs = {e for first, last in distinct[order[:enough]] for e in range(first, last + 1)}
    return _as_ranges(sorted(epochs))


def _as_ranges(numbers):
    """``[2, 3, 4, 9]`` as ``"2-4, 9"``."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1) if numbers else []
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _extremes(scores, k):
    """Positions of the lowest and the highest scores, and their ranks 1, 2, .. and .., -2, -1."""
    order = np.argsort(scores, kind="stable")[: np.sum(~np.isnan(scores))]  # NaN sorts last
    from_below = np.arange(1, len(order) + 1)
    from_above = from_below - len(order) - 1
    rank = np.where(from_below <= k, from_below, from_above)
    shown = (from_below <= k) | (from_above >= -k)
    return order[shown], rank[shown]
