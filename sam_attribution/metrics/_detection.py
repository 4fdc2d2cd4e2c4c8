"""How well low scores point at rows known to be wrong."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from sam_attribution._validation import check_column, check_mask


def detection(scores, wrong, *, inspected=(0.1, 0.2, 0.4)):
    """Figures of merit of a ranking, lowest score first, for finding the wrong rows.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Low = suspicious. Rows that were not judged (NaN) count nowhere.
    wrong : array-like of bool, shape (n_samples,)
    inspected : sequence of float, default=(0.1, 0.2, 0.4)
        Fractions of the judged rows to look at, for the recall; each from 0 to 1.

    Returns
    -------
    Series
        `auc`: chance that a wrong row has the lower score of a random pair (ROC AUC).
        `average_precision`. `recall at 10%` and so on: share of the wrong rows that the lowest
        tenth holds, as :func:`detection_curve` counts them.

    Raises
    ------
    ValueError
        If the lengths differ, all of the judged rows are wrong or none is, or `wrong` holds
        other things than True and False (row numbers, say).

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
    inspected = check_column(inspected, "inspected", dtype="float64")
    if not np.all((inspected >= 0) & (inspected <= 1)):
        raise ValueError(f"inspected must lie from 0 to 1, got {inspected.tolist()}.")
    recalls = np.interp(inspected, *_curve(scores, wrong))
    return pd.Series(
        {
            "auc": roc_auc_score(wrong, -scores),
            "average_precision": average_precision_score(wrong, -scores),
            **{f"recall at {100 * s:g}%": r for s, r in zip(inspected, recalls, strict=True)},
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
        What is to be expected if rows of equal score come in any order.

    Examples
    --------
    >>> from sam_attribution.metrics import detection_curve
    >>> fraction, found = detection_curve([-3.0, -1.0, 0.5, 2.0], [True, False, True, False])
    >>> found
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    return _curve(*_judged(scores, wrong))


def _curve(scores, wrong):
    order = np.argsort(scores, kind="stable")
    hits = np.concatenate([[0], np.cumsum(wrong[order])]) / wrong.sum()
    inspected = np.arange(len(scores) + 1)
    between = np.diff(scores[order], prepend=-np.inf, append=np.inf) > 0  # no equal scores here
    return inspected / len(scores), np.interp(inspected, inspected[between], hits[between])


def _judged(scores, wrong):
    scores = check_column(scores, "scores", dtype="float64")
    wrong = check_mask(wrong, "wrong", len(scores))
    judged = ~np.isnan(scores)
    if wrong[judged].all() or not wrong[judged].any():
        raise ValueError("wrong must hold True and False among the rows that have a score.")
    return scores[judged], wrong[judged]
