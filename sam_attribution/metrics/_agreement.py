"""Agreement of scores with the effects that retraining measured."""

import numpy as np
import pandas as pd
from scipy import stats

from sam_attribution._row_order import check_tables
from sam_attribution._validation import check_numbers


def agreement(scores, truth):
    """Pearson, slope, Spearman and cosine of scores with the effects they predict.

    Parameters
    ----------
    scores : array-like of shape (n_samples,) or (n_query, n_samples)
        Predicted rise of the loss when a row is removed; NaN for a row that was not judged.
    truth : array-like of the same shape
        Rise measured by retraining without the row; NaN for a row that was not removed.

    Returns
    -------
    DataFrame
        One line per query; :func:`over_queries` sums them up. `pearson`: correlation. `slope`:
        slope of the least-squares line of `truth` on `scores`; 1 is the right size, 2 means that
        effects are twice as large as predicted. `spearman`: correlation of ranks. `cosine`:
        correlation without centring, which a common shift changes. `n`: number of pairs with two
        numbers. An undefined figure is NaN: correlations and slope if one side is constant, the
        cosine if one side is zero.

    Raises
    ------
    ValueError
        If the shapes differ, or a query has less than two pairs without NaN.

    References
    ----------
    Wei et al., Final-Model-Only Data Attribution, arXiv:2412.03906 (cosine per query).

    Examples
    --------
    >>> from sam_attribution.metrics import agreement
    >>> line = agreement([0.0, 1.0, 2.0, 3.0], [0.5, 2.5, 4.5, 6.5]).loc[0]
    >>> float(line["pearson"].round(3)), float(line["slope"].round(3))
    (1.0, 2.0)
    """
    check_tables(scores=scores, truth=truth)
    scores, truth = one_row_per_query(scores, "scores"), one_row_per_query(truth, "truth")
    if scores.shape != truth.shape:
        raise ValueError(
            f"scores and truth must have one shape, got {scores.shape} and {truth.shape}."
        )
    pairs = zip(scores, truth, strict=True)
    lines = [_line(*_judged(*pair, query)) for query, pair in enumerate(pairs)]
    return pd.DataFrame(lines).rename_axis("query")


def over_queries(table):
    """Mean and standard error of each figure over the queries.

    Parameters
    ----------
    table : DataFrame
        One line per query and one column per figure, as returned by :func:`agreement`. The
        column `n` is not a figure and is left out.

    Returns
    -------
    DataFrame
        One line per figure: `mean` and `standard_error` (standard deviation with n - 1, divided
        by the root of n; NaN for a single query) over the `n_queries` that define the figure.

    Examples
    --------
    >>> from sam_attribution.metrics import agreement, over_queries
    >>> scores = [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    >>> over_queries(agreement(scores, [[0.0, 1.0, 2.0], [0.0, 3.0, 6.0]])).loc[
    ...     "slope"
    ... ]
    mean              2.0
    standard_error    1.0
    n_queries         2.0
    Name: slope, dtype: float64
    """
    figures = table.drop(columns="n", errors="ignore")
    summary = {
        "mean": figures.mean(),
        "standard_error": figures.sem(),
        "n_queries": figures.count(),
    }
    return pd.DataFrame(summary).rename_axis("figure")


def one_row_per_query(values, name):
    """Float array of shape (n_query, n_samples); one query may be given as one dimension."""
    return np.atleast_2d(check_numbers(values, name, n_axes=(1, 2)))


def cosines(scores, truth):
    """Cosine along the last axis over the pairs without NaN; NaN if one side is zero."""
    both = ~(np.isnan(scores) | np.isnan(truth))
    scores, truth = np.where(both, scores, 0.0), np.where(both, truth, 0.0)
    lengths = np.linalg.norm(scores, axis=-1) * np.linalg.norm(truth, axis=-1)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return (scores * truth).sum(-1) / lengths


def _judged(scores, truth, query):
    """Entries of two vectors at which neither is NaN; ValueError if there are less than two."""
    both = ~(np.isnan(scores) | np.isnan(truth))
    if both.sum() < 2:
        raise ValueError(
            f"scores and truth need two pairs without NaN, got {both.sum()} for query {query}. "
            "Leave the query out, or retrain without more of the rows that have a score."
        )
    return scores[both], truth[both]


def _line(scores, truth):
    varies = np.ptp(scores) > 0 and np.ptp(truth) > 0
    return {
        "pearson": stats.pearsonr(scores, truth).statistic if varies else np.nan,
        "slope": stats.linregress(scores, truth).slope if np.ptp(scores) > 0 else np.nan,
        "spearman": stats.spearmanr(scores, truth).statistic if varies else np.nan,
        "cosine": cosines(scores, truth),
        "n": len(scores),
    }
