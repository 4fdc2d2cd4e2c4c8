"""Detection of rows known to be wrong by their low scores."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from sam_attribution._row_order import check_results
from sam_attribution._validation import check_column, check_mask


def detection(scores, wrong, *, inspected=(0.1, 0.2, 0.4)):
    """Figures of merit of scores for finding the wrong rows, lowest score first.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Low = suspicious. Rows that were not judged (NaN) are ignored.
    wrong : array-like of bool, shape (n_samples,)
        Rows whose label is known to be wrong.
    inspected : sequence of float, default=(0.1, 0.2, 0.4)
        Fractions of the judged rows to inspect for the recall, each from 0 to 1.

    Returns
    -------
    Series
        `auc`: probability that, of a random wrong and a random right row, the wrong one has the
        lower score (ROC AUC). `average_precision`. `recall at 10%` and so on: share of the wrong
        rows that is found in the lowest tenth, as :func:`detection_curve` counts it.

    Raises
    ------
    ValueError
        If the lengths differ, all of the judged rows are wrong or none is, or `wrong` is not a
        mask.

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
    """Share of the wrong rows found, by the share of rows inspected, lowest score first.

    Parameters
    ----------
    scores, wrong
        As for :func:`detection`.

    Returns
    -------
    fraction : ndarray of shape (n_judged + 1,)
        Share of the rows inspected, from 0 to 1.
    found : ndarray of the same shape
        Share of the wrong rows found: the mean over all orders of rows with equal scores.

    Examples
    --------
    >>> from sam_attribution.metrics import detection_curve
    >>> fraction, found = detection_curve(
    ...     [-3.0, -1.0, 0.5, 2.0], [True, False, True, False]
    ... )
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
    check_results({"wrong": wrong}, scores=scores)
    scores = check_column(scores, "scores", dtype="float64")
    wrong = check_mask(wrong, "wrong", len(scores))
    judged = ~np.isnan(scores)
    if wrong[judged].all() or not wrong[judged].any():
        raise ValueError("wrong must hold True and False among the rows that have a score.")
    return scores[judged], wrong[judged]
