"""Wrong labels by the probabilities of any classifier."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from sam_attribution._row_order import check_order
from sam_attribution._validation import check_mask, check_sample_weight
from sam_attribution._warnings import warn
from sam_attribution.detection._doubts import warn_of_lost_classes
from sam_attribution.detection._effective_weights import effective_weights
from sam_attribution.detection._given_probabilities import given_probabilities
from sam_attribution.detection._given_share import GivenShare
from sam_attribution.detection._issues import issue_table
from sam_attribution.detection._label_skill import LabelSkill
from sam_attribution.detection._page_suggestions import page_suggestions
from sam_attribution.detection._probabilities import log_odds
from sam_attribution.detection._probability_wrong import most_probable_f1
from sam_attribution.detection._report import WritesReport

# so that a probability of 0, as forests give it, is no certainty
_LEAST_PROBABILITY = 1e-4
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class LabelIssues(WritesReport):
    """Result of :func:`label_issues`: the share of wrong labels, and a judgement of every label.

    It prints the counts and the five most suspicious labels. ``report(path, X)`` writes a review
    page.

    Attributes
    ----------
    issues : DataFrame
        One row per label, the most suspicious first, with the index of `y` and the columns
        ``given_label``, ``suggested_label``, ``probability_wrong``, ``score`` and
        ``is_suspicious``.
    scores : ndarray of shape (n_samples,)
        Log-odds of the given label (nats). Low = suspicious; NaN where `proba` has NaN.
    probability_wrong : ndarray of shape (n_samples,)
        Estimated probability that each label is wrong.
    suspicious : ndarray of shape (n_samples,), dtype bool
        True for the rows with the lowest scores, as many as give the largest expected F1.
    suggested_labels : ndarray of shape (n_samples,)
        Most probable label of every row; often the given one.
    label_log_proba : ndarray of shape (n_samples, n_classes)
        Log-probability that each label is the true one.
    contamination : float
        Share of wrong labels, the mean of `probability_wrong`.
    contamination_interval : tuple of float
        90 % interval of the share, by weight if rows have weights. Shares up to 60 % are tried (50
        % with two classes).
    transition : ndarray of shape (n_classes, n_classes)
        Probability of each given label (second axis), per true class.
    classes : ndarray of shape (n_classes,)
        Sorted, the order of the columns of `label_log_proba` and of `transition`.
    given_labels : ndarray of shape (n_samples,)
    """

    issues: pd.DataFrame
    scores: np.ndarray
    probability_wrong: np.ndarray
    suspicious: np.ndarray
    suggested_labels: np.ndarray
    label_log_proba: np.ndarray
    contamination: float
    contamination_interval: tuple
    transition: np.ndarray
    classes: np.ndarray
    given_labels: np.ndarray
    _index: pd.Index | None = field(default=None, repr=False)

    def __repr__(self):
        low, high = self.contamination_interval
        return (
            f"LabelIssues: {self.suspicious.sum()} of {len(self.scores)} labels are suspicious\n"
            f"  estimated share of wrong labels: {self.contamination:.3f} "
            f"(90 % interval: {low:.3f} to {high:.3f})"
        )

    def __str__(self):
        return f"{self!r}\n{self.issues.head()}"

    def _repr_html_(self):
        name, *counts = repr(self).splitlines()
        worst = self.issues.head()._repr_html_()
        return f"<p><strong>{name}</strong><br>{' '.join(counts)}</p>\n{worst}"

    def _on_page(self):
        found = self.suggested_labels, self.given_labels, self.suspicious
        return self._index, {
            "given": self.given_labels,
            "suggested": page_suggestions(*found, self.label_log_proba, self.classes),
            "scores": self.scores,
            "suspicious": self.suspicious,
            "probability_wrong": self.probability_wrong,
            "label_scores": self.label_log_proba,
            "classes": self.classes,
        }


def label_issues(y, proba, *, classes=None, sample_weight=None, trusted=None):
    """Find wrong labels from the out-of-sample probabilities of any classifier.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Given labels, some of which may be wrong.
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities by a classifier that was **not trained on the row**, such as
        ``cross_val_predict(classifier, X, y, cv=5, method="predict_proba")``. Rows with NaN are not
        judged.
    classes : array-like of shape (n_classes,), optional
        Labels of the columns of `proba`. By default the column names of a DataFrame, else the
        sorted labels of `y`, as in scikit-learn.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the rows in the estimates, in any unit; a weight of 0 leaves a row out.
    trusted : array-like of bool, shape (n_samples,), optional
        True for rows whose labels are known to be right. They separate ambiguous rows from wrong
        labels.

    Returns
    -------
    LabelIssues
        Has the table ``issues`` (``given_label``, ``suggested_label``, ``probability_wrong``,
        ``score``, ``is_suspicious``; the worst first, with the index of `y`), ``report(path, X)``,
        and the results of a :class:`~sam_attribution.MislabelDetector` without the underscore:
        ``scores``, ``probability_wrong``, ``suspicious``, ``suggested_labels``,
        ``label_log_proba``, ``contamination``, ``contamination_interval`` and ``transition``.

    Raises
    ------
    ValueError
        If `proba` holds no probabilities, or does not fit `y`.

    Warns
    -----
    AttributionWarning
        If `proba` predicts `y` hardly better than the class frequencies do (nothing is then
        suspicious), or if most labels of a class are suspicious.

    See Also
    --------
    MislabelDetector : Trains a network, and uses the states of its training as well.

    Notes
    -----
    The probabilities are calibrated by a likelihood of all labels over the share of wrong ones,
    averaged over patterns of noise, as in :class:`~sam_attribution.MislabelDetector`; the score is
    the log-odds of the given label under the calibrated probabilities. It takes seconds for 100,000
    rows.

    A classifier that was trained on noisy labels also learns their confusions, which then look like
    overlapping classes. Two assumptions separate them. The probabilities may be those of the given
    labels, so the true ones follow from the inverse of the transition matrix. And each class has
    rows that certainly belong to it; a class without such rows counts as partly wrong.

    If the classifier was trained on the rows, its probabilities agree with every label, and no
    wrong label is found. A largest probability above 0.99 in nearly all rows is a sign of this.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.model_selection import cross_val_predict
    >>> from sam_attribution.datasets import symmetric_noise
    >>> from sam_attribution.detection import label_issues
    >>> X, right = load_breast_cancer(return_X_y=True)
    >>> y, wrong = symmetric_noise(right, 0.1, random_state=0)
    >>> boosting = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    >>> proba = cross_val_predict(boosting, X, y, method="predict_proba")
    >>> found = label_issues(y, proba)
    >>> bool(abs(found.contamination - 0.1) < 0.03)
    True
    >>> bool(wrong[found.issues.index[:20]].mean() > 0.9)
    True
    """
    check_order(y=y, proba=proba, sample_weight=sample_weight, trusted=trusted)
    index = y.index if hasattr(y, "iloc") else None
    classes, codes, proba = given_probabilities(y, proba, classes)
    judged = ~np.isnan(proba[:, 0])
    is_right, weights = np.zeros(len(codes), bool), np.ones(len(codes))
    if trusted is not None:
        is_right = check_mask(trusted, "trusted", len(codes))
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, proba, ensure_non_negative=True)
        weights = _of_judged(weights, judged)
    scores = np.log(proba[judged] + _LEAST_PROBABILITY)
    rows = codes[judged], weights[judged], is_right[judged]
    share = GivenShare(proba[judged], rows[0], len(classes), *rows[1:])
    log_proba = np.full(proba.shape, np.nan)
    log_proba[judged] = np.log(np.maximum(share.posterior(), _TINY))
    unsure = 1 - is_right[judged].mean()
    interval = tuple(float(unsure * rate) for rate in share.interval)
    has_skill = not LabelSkill(share, [(scores, codes[judged])]).is_chance
    if not has_skill:
        _warn_of_chance()
    return _collected(log_proba, codes, classes, index, has_skill, interval, share)


def _of_judged(weights, judged):
    if not weights[judged].any():
        raise ValueError(
            "sample_weight must be above 0 for some rows that proba has numbers for, got 0 for "
            "all of them. Leave it out, or give weight to rows without NaN."
        )
    weights = weights.copy()
    weights[judged] = effective_weights(weights[judged])
    return weights


def _warn_of_chance():
    warn(
        "proba predicts y hardly better than the class frequencies do, so no label is called "
        "suspicious. Check that its rows and columns are in the order of y and of classes, or "
        "train a better classifier."
    )


def _collected(log_proba, codes, classes, index, has_skill, interval, share):
    """LabelIssues of log-probabilities (n_samples, n_classes) of the true classes."""
    scores = log_odds(torch.as_tensor(log_proba), torch.as_tensor(codes)).numpy()
    wrong = expit(-scores)
    best = np.where(np.isnan(scores), codes, np.nan_to_num(log_proba, nan=-np.inf).argmax(1))
    suspicious = most_probable_f1(wrong, scores, share.none_wrong) & has_skill
    warn_of_lost_classes(classes[codes], suspicious, "issues")
    about = classes[codes], classes[best], wrong
    return LabelIssues(
        issues=issue_table(*about, scores, suspicious, index),
        scores=scores,
        probability_wrong=wrong,
        suspicious=suspicious,
        suggested_labels=classes[best],
        label_log_proba=log_proba,
        contamination=float(np.nanmean(wrong)),
        contamination_interval=interval,
        transition=share.transition,
        classes=classes,
        given_labels=classes[codes],
        _index=index,
    )
