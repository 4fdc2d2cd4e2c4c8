"""Probabilities of wrong labels that follow the scores, and the rows to look at."""

import numpy as np
from sklearn.isotonic import IsotonicRegression

_LEAST = 1e-6
_LEAST_EXPECTED = 0.5
_LEAST_GAIN = 0.02
_DIGITS = 3


def following_scores(probability, scores):
    """Probabilities that never rise with the score, and keep their sum: isotonic regression.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Probability of each label to be wrong.
    scores : ndarray of shape (n_samples,)
        Low = suspicious; NaN for rows that were not judged, which stay NaN.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    found = np.full(len(scores), np.nan)
    judged = ~(np.isnan(scores) | np.isnan(probability))
    if judged.any():
        monotone = IsotonicRegression(increasing=False, y_min=_LEAST, y_max=1 - _LEAST)
        found[judged] = monotone.fit_transform(scores[judged], probability[judged])
    return found


def most_probable_f1(probability, scores, none_wrong=0.0):
    """Mask of the rows that are worth a look: those of the largest expected F1.

    Taking the k most probable rows has an expected F1 of about ``2 sum of their probabilities /
    (k + sum of all)``. Taking none has an F1 of 1 if no label is wrong, and of 0 otherwise. None is
    taken if that is better, where not even half a row is expected to be wrong, or where taking all
    rows is about as good: then no row stands out.

    Parameters
    ----------
    probability, scores : as for :func:`following_scores`
        Of equally probable rows those with the lowest scores come first.
    none_wrong : float, default=0.0
        Probability that no label at all is wrong.

    Returns
    -------
    ndarray of bool, shape (n_samples,)
    """
    known = np.nan_to_num(probability)
    total = known.sum()
    mask = np.zeros(len(known), bool)
    if total < _LEAST_EXPECTED:
        return mask
    order = np.lexsort((scores, -known))
    expected = 2 * known[order].cumsum() / (np.arange(1, len(known) + 1) + total)
    if expected.max() - expected[-1] >= _LEAST_GAIN and expected.max() > none_wrong:
        mask[order[: expected.argmax() + 1]] = True
    return mask


def expected_quality(probability, suspicious):
    """Expected precision and recall of the suspicious rows, NaN if there are none.

    Parameters
    ----------
    probability : as for :func:`following_scores`
    suspicious : ndarray of bool, shape (n_samples,)

    Returns
    -------
    dict
    """
    if not suspicious.any():
        return {"expected_precision": np.nan, "expected_recall": np.nan}
    found = np.nansum(probability[suspicious])
    return {
        "expected_precision": found / suspicious.sum(),
        "expected_recall": found / np.nansum(probability),
    }


def expected_auc(probability, scores):
    """Expected share of the pairs of a wrong and a right label in which the wrong one scores lower.

    Parameters
    ----------
    probability, scores : as for :func:`following_scores`

    Returns
    -------
    float
        1 if not even half a row is expected to be wrong: there is no such pair.
    """
    order = np.argsort(scores, kind="stable")
    wrong = probability[order]
    wrong = wrong[~np.isnan(wrong)]
    if wrong.sum() < _LEAST_EXPECTED:
        return 1.0
    right_above = (1 - wrong).sum() - (1 - wrong).cumsum()
    pairs = wrong.sum() * (1 - wrong).sum() - wrong @ (1 - wrong)
    return float(wrong @ right_above / pairs) if pairs > 0 else 1.0


def wrong_by_class(probability, y):
    """Dict of the mean probability among the rows of each given label, largest first.

    It is rounded to three digits. Classes of which no row was judged come last, with NaN.
    """
    classes, codes = np.unique(y, return_inverse=True)
    judged = ~np.isnan(probability)
    counts = np.bincount(codes[judged], minlength=len(classes))
    total = np.bincount(codes[judged], probability[judged], len(classes))
    shares = np.where(counts, total / np.maximum(counts, 1), np.nan).round(_DIGITS)
    order = np.argsort(-shares, kind="stable")
    return dict(zip(classes[order].tolist(), shares[order].tolist(), strict=True))


def label_log_probabilities(log_proba, y, probability_wrong):
    """Log-probability of each label to be the true one, so that the given one agrees.

    Parameters
    ----------
    log_proba : ndarray of shape (n_samples, n_classes)
        Share that the other labels have, among each other.
    y : ndarray of int, shape (n_samples,)
        Codes of the given labels.
    probability_wrong : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
    """
    rows = np.arange(len(y))
    others = log_proba.copy()
    others[rows, y] = -np.inf
    with np.errstate(invalid="ignore"):  # rows that were not judged
        others -= np.logaddexp.reduce(others, axis=1, keepdims=True)
    found = others + np.log(probability_wrong)[:, None]
    found[rows, y] = np.log1p(-probability_wrong)
    return found
