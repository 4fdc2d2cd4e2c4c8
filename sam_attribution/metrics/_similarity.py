"""Cosine similarity of scores and further training, by the amount of training."""

import numpy as np
import pandas as pd

from sam_attribution._row_order import check_paired, entries_of, rows_of
from sam_attribution._validation import check_column, check_numbers
from sam_attribution.metrics._agreement import cosines, one_row_per_query, over_queries


def similarities(scores, truth, amounts):
    """Cosines of scores and further training, for each amount of training and each query.

    Parameters
    ----------
    scores : array-like of shape (n_query, n_left_out) or (n_left_out,)
        Predicted rise of each query's loss when a row is removed, for the rows that further
        training left out; NaN for a row that was not judged.
    truth : array-like of shape (n_amounts, n_query, n_left_out) or (n_amounts, n_left_out)
        Rise measured by further training without the row; NaN for a row that was not left out.
    amounts : array-like of shape (n_amounts,)
        Amounts of further training, for example in epochs.

    Returns
    -------
    DataFrame of shape (n_amounts, n_query)
        Cosines, with the amounts as index. The table's ``max()`` is the best cosine of each query
        over the amounts. A cosine is NaN if all scores or all of the truth are zero, as after no
        further training.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or an amount is NaN.

    References
    ----------
    Wei et al., Final-Model-Only Data Attribution, arXiv:2412.03906, section 5.

    Examples
    --------
    >>> from sam_attribution.metrics import similarities
    >>> similarities([3.0, 4.0], [[3.0, 4.0], [4.0, 3.0]], amounts=[1, 10])[0]
    amount
    1.0     1.00
    10.0    0.96
    Name: 0, dtype: float64
    """
    check_paired(entries_of("scores", scores), entries_of("truth", truth))
    check_paired(rows_of("truth", truth), rows_of("amounts", amounts))
    scores, truth = one_row_per_query(scores, "scores"), check_numbers(truth, "truth")
    amounts = check_column(amounts, "amounts", dtype="float64")
    if truth.ndim == 2 and len(scores) == 1:
        truth = truth[:, np.newaxis]
    expected = (len(amounts), *scores.shape)
    if truth.shape != expected:
        raise ValueError(
            f"truth must have shape {expected}, (n_amounts, n_query, n_left_out) by amounts and "
            f"scores, got {truth.shape}."
        )
    if np.isnan(amounts).any():
        raise ValueError("amounts must not hold NaN.")
    return pd.DataFrame(cosines(scores, truth), index=pd.Index(amounts, name="amount")).rename_axis(
        columns="query"
    )


def similarity_curve(scores, truth, amounts):
    """Mean over queries of the cosine of scores and further training, for each amount.

    Parameters
    ----------
    scores, truth, amounts
        As for :func:`similarities`, which returns the cosine of each query.

    Returns
    -------
    DataFrame
        One line per amount: `mean`, `standard_error` and `n_queries`, the number of queries with
        a cosine.

    Examples
    --------
    >>> from sam_attribution.metrics import similarity_curve
    >>> similarity_curve([3.0, 4.0], [[3.0, 4.0], [4.0, 3.0]], amounts=[1, 10])["mean"]
    amount
    1.0     1.00
    10.0    0.96
    Name: mean, dtype: float64
    """
    return over_queries(similarities(scores, truth, amounts).T).rename_axis("amount")
