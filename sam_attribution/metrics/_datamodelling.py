"""Linear datamodelling score: summed scores against retraining on random subsets."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy import stats
from sklearn.utils import check_scalar

from sam_attribution._row_order import check_paired, entries_of, rows_of
from sam_attribution._seeding import draw_seed
from sam_attribution._summary import summary, summary_html
from sam_attribution._validation import check_mask
from sam_attribution.metrics._agreement import one_row_per_query


@dataclass(frozen=True, eq=False)
class DatamodellingScore:
    """Mean over queries of a rank correlation, and its bootstrap interval.

    Attributes
    ----------
    value : float
        Mean over the queries that have a correlation.
    low, high : float
        Bounds of the interval over the random subsets; NaN without bootstrap.
    per_query : ndarray of shape (n_query,)
        Correlation of each query; NaN if the summed scores, or the losses, are the same for all
        subsets.
    """

    value: float
    low: float
    high: float
    per_query: np.ndarray

    __repr__ = summary
    _repr_html_ = summary_html


def linear_datamodelling_score(
    scores, left_out, values, *, n_bootstrap=1000, confidence=0.95, random_state=None
):
    """Rank correlation of summed scores with the loss after training on random subsets.

    Parameters
    ----------
    scores : array-like of shape (n_query, n_samples) or (n_samples,)
        Predicted rise of each query's loss when a row is removed. A row that any subset leaves
        out must have a score.
    left_out : array-like of bool, shape (n_subsets, n_samples)
        Rows left out of each retraining.
    values : array-like of shape (n_query, n_subsets) or (n_subsets,)
        Loss of each query after each retraining.
    n_bootstrap : int, default=1000
        Number of resamples of the subsets for the interval; 0 computes no interval.
    confidence : float, default=0.95
        Confidence level of the interval, between 0 and 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the resamples. None takes one from the operating system.

    Returns
    -------
    DatamodellingScore
        A positive value means that the scores predict the losses: the sum runs over the rows
        *left out*.

    Raises
    ------
    ValueError
        If shapes do not fit together, there are less than two subsets, a row that was left out
        has no score, or `left_out` is not a mask.

    Notes
    -----
    The cost is ``n_bootstrap * n_query`` rankings of the subsets: one second for 1000 resamples,
    10 queries and 100 subsets.

    References
    ----------
    Park et al., TRAK: Attributing Model Behavior at Scale, arXiv:2303.14186, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.metrics import linear_datamodelling_score
    >>> left_out = np.random.default_rng(0).random((30, 8)) < 0.5
    >>> effects = np.arange(8.0)
    >>> linear_datamodelling_score(
    ...     effects, left_out, left_out @ effects, random_state=0
    ... ).value
    1.0
    """
    _check_order(scores, left_out, values)
    scores, values = one_row_per_query(scores, "scores"), one_row_per_query(values, "values")
    left_out = check_mask(left_out, "left_out")
    _check(scores, left_out, values)
    check_scalar(n_bootstrap, "n_bootstrap", Integral, min_val=0)
    check_scalar(confidence, "confidence", Real, min_val=0, max_val=1, include_boundaries="neither")
    predicted = np.where(left_out.any(0), scores, 0.0) @ left_out.T
    per_query = _rank_correlations(predicted, values)
    rng = np.random.default_rng(draw_seed(random_state))
    draws = (rng.integers(len(left_out), size=len(left_out)) for _ in range(n_bootstrap))
    means = [_mean(_rank_correlations(predicted[:, d], values[:, d])) for d in draws]
    low, high = _interval(np.array(means), confidence)
    return DatamodellingScore(_mean(per_query), low, high, per_query)


def _interval(means, confidence):
    means = means[~np.isnan(means)]
    if len(means) == 0:
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _mean(correlations):
    """Mean over the queries that have a correlation."""
    defined = correlations[~np.isnan(correlations)]
    return float(defined.mean()) if len(defined) else np.nan


def _rank_correlations(predicted, values):
    """Spearman correlations of the rows of one table with the same rows of the other."""
    a, b = (stats.rankdata(table, axis=1) for table in (predicted, values))
    a, b = (ranks - ranks.mean(1, keepdims=True) for ranks in (a, b))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def _check_order(scores, left_out, values):
    check_paired(entries_of("scores", scores), entries_of("left_out", left_out))
    check_paired(entries_of("values", values), rows_of("left_out", left_out))
    check_paired(rows_of("scores", scores), rows_of("values", values))


def _check(scores, left_out, values):
    n_query, n_samples = scores.shape
    if left_out.ndim != 2 or left_out.shape[1] != n_samples:
        raise ValueError(
            f"left_out must have shape (n_subsets, {n_samples}), got {left_out.shape}."
        )
    if values.shape != (n_query, len(left_out)):
        raise ValueError(
            f"values must have shape ({n_query}, {len(left_out)}), a loss per query and subset, "
            f"got {values.shape}."
        )
    if np.isnan(scores[:, left_out.any(0)]).any():
        raise ValueError("scores must have a number for every row that is left out, got NaN.")
    if np.isnan(values).any():
        raise ValueError("values must not hold NaN.")
    if len(left_out) < 2:
        raise ValueError("left_out must hold two subsets or more, got 1.")
