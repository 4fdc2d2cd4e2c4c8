"""Agreement of scores with what retraining found."""

import numpy as np
import pandas as pd
from scipy import stats

from sam_attribution.metrics._arrays import judged_pairs, one_row_per_query


def agreement(scores, truth):
    """Pearson, Spearman, slope and cosine of scores with the effects they predict.

    Parameters
    ----------
    scores : array-like of shape (n_samples,) or (n_query, n_samples)
        Predicted rise of the loss when a row is removed; NaN where a row was not judged.
    truth : array-like of the same shape
        What retraining without the row found; NaN where it was not tried.

    Returns
    -------
    DataFrame
        One line per query. `pearson`, `spearman`: correlations. `slope`: of the least-squares
        line of `truth` on `scores`; 1 is the right size, 2 means that effects are twice what
        was predicted. `cosine`: correlation without centring, which sees a common shift. `n`:
        pairs that have both numbers. NaN where a column is constant.

    Raises
    ------
    ValueError
        If the shapes differ, or a query has less than two such pairs.

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
    scores, truth = one_row_per_query(scores, "scores"), one_row_per_query(truth, "truth")
    lines = [_line(*judged_pairs(*pair)) for pair in _queries(scores, truth)]
    return pd.DataFrame(lines).rename_axis("query")


def _queries(scores, truth):
    if scores.shape != truth.shape:
        raise ValueError(
            f"scores and truth must have one shape, got {scores.shape} and {truth.shape}."
        )
    return zip(scores, truth, strict=True)


def _line(scores, truth):
    varies = np.ptp(scores) > 0 and np.ptp(truth) > 0
    lengths = np.linalg.norm(scores) * np.linalg.norm(truth)
    return {
        "pearson": stats.pearsonr(scores, truth).statistic if varies else np.nan,
        "spearman": stats.spearmanr(scores, truth).statistic if varies else np.nan,
        "slope": stats.linregress(scores, truth).slope if np.ptp(scores) > 0 else np.nan,
        "cosine": scores @ truth / lengths if lengths > 0 else np.nan,
        "n": len(scores),
    }
