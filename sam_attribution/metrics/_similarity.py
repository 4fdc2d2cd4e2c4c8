"""Agreement of scores with further training, over its amount."""

import numpy as np
import pandas as pd

from sam_attribution._validation import check_column, check_numbers
from sam_attribution.metrics._agreement import cosines, one_row_per_query, over_queries


def similarities(scores, truth, amounts):
    """Cosine of scores and further training, for each amount of training and each query.

    Parameters
    ----------
    scores : array-like of shape (n_query, n_left_out) or (n_left_out,)
        Predicted rise of each query's loss when a row is removed, for the rows that further
        training left out; NaN where a row was not judged.
    truth : array-like of shape (n_amounts, n_query, n_left_out) or (n_amounts, n_left_out)
        Rise that further training without the row found; NaN where it was not tried.
    amounts : array-like of shape (n_amounts,)
        How much further training that was, in epochs for example.

    Returns
    -------
    DataFrame of shape (n_amounts, n_query)
        Index: the amounts. Its ``max()`` is each query's best over the amounts. NaN where scores
        or truth are zero throughout, as after no further training.

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
    """Mean cosine of scores and further training over queries, for each amount of training.

    Parameters
    ----------
    scores, truth, amounts
        As for :func:`similarities`, which has the single queries.

    Returns
    -------
    DataFrame
        One line per amount: `mean`, `standard_error`, and the `n_queries` that they are over.

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
