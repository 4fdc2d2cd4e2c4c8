"""The rows behind single predictions, as a table to read."""

from numbers import Integral

import numpy as np
import pandas as pd


def explanation(scores, labels, suggested, k):
    """Table of the `k` most harmful and the `k` most helpful rows of each query.

    Parameters
    ----------
    scores : ndarray of shape (n_queries, n_samples)
        NaN for rows that were not trained on: they are not shown.
    labels, suggested : ndarray of shape (n_samples,)
    k : int

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
    >>> labels, suggested = np.array(["cat", "dog", "cat"]), np.array(["dog", "dog", "cat"])
    >>> explanation(np.array([[-2.0, 0.5, 0.1]]), labels, suggested, 1)
       query  rank  train_index label suggested_label  score
    0      0     1            0   cat             dog   -2.0
    1      0    -1            1   dog             dog    0.5
    """
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    tables = []
    for query, row in enumerate(scores):
        index, rank = _extremes(row, k)
        columns = {
            "query": query,
            "rank": rank,
            "train_index": index,
            "label": labels[index],
            "suggested_label": suggested[index],
            "score": row[index],
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _extremes(scores, k):
    """Positions of the lowest and the highest scores, and their ranks 1, 2, .. and .., -2, -1."""
    order = np.argsort(scores, kind="stable")[: np.sum(~np.isnan(scores))]  # NaN sorts last
    from_below = np.arange(1, len(order) + 1)
    from_above = from_below - len(order) - 1
    rank = np.where(from_below <= k, from_below, from_above)
    shown = (from_below <= k) | (from_above >= -k)
    return order[shown], rank[shown]
