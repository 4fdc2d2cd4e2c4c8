"""How well low scores point at rows known to be wrong."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from sam_attribution.metrics._arrays import one_row_per_query


def detection(scores, wrong, *, inspected=(0.1, 0.2, 0.4)):
    """Figures of merit of a ranking, lowest score first, for finding the wrong rows.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Low = suspicious. Rows that were not judged (NaN) count nowhere.
    wrong : array-like of bool, shape (n_samples,)
    inspected : sequence of float, default=(0.1, 0.2, 0.4)
        Fractions of the rows to look at, for the recall.

    Returns
    -------
    Series
        `auc`: chance that a wrong row has the lower score of a random pair (ROC AUC).
        `average_precision`. `recall at 10%` and so on: share of the wrong rows among the
        lowest tenth.

    Raises
    ------
    ValueError
        If the lengths differ, or all of the judged rows are wrong or none is.

    Examples
    --------
    >>> from sam_attribution.metrics import detection
    >>> detection([-3.0, -1.0, 0.5, 2.0], [True, False, True, False], inspected=[0.5])
    auc                  0.750000
    average_precision    0.833333
    recall at 50%        0.500000
    dtype: float64
    """
    scores, wrong = _judged(scores, wrong)
    fraction, found = _curve(scores, wrong)
    recalls = {f"recall at {share:.0%}": np.interp(share, fraction, found) for share in inspected}
    return pd.Series(
        {
            "auc": roc_auc_score(wrong, -scores),
            "average_precision": average_precision_score(wrong, -scores),
            **recalls,
        }
    )


def detection_curve(scores, wrong):
    """Share of the wrong rows found against the share of rows inspected, lowest score first.

    Parameters
    ----------
    scores, wrong
        As for :func:`detection`.

    Returns
    -------
    fraction : ndarray of shape (n_judged + 1,)
        From 0 to 1.
    found : ndarray of the same shape
        Rows of equal score stand in the order of the data.

    Examples
    --------
    >>> from sam_attribution.metrics import detection_curve
    >>> fraction, found = detection_curve([-3.0, -1.0, 0.5, 2.0], [True, False, True, False])
    >>> found
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    return _curve(*_judged(scores, wrong))


def _curve(scores, wrong):
    hits = np.cumsum(wrong[np.argsort(scores, kind="stable")])
    return np.arange(len(scores) + 1) / len(scores), np.concatenate([[0], hits]) / hits[-1]


def _judged(scores, wrong):
    (scores,) = one_row_per_query(scores, "scores")
    wrong = np.asarray(wrong, dtype=bool)
    if wrong.shape != scores.shape:
        raise ValueError(f"wrong must have the shape of scores, {scores.shape}, got {wrong.shape}.")
    judged = ~np.isnan(scores)
    if wrong[judged].all() or not wrong[judged].any():
        raise ValueError("wrong must hold True and False among the rows that have a score.")
    return scores[judged], wrong[judged]
