"""The part of MislabelDetector that judges rows which were not in ``fit``."""

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution._row_order import check_order
from sam_attribution._rows import with_own_targets
from sam_attribution._turns import exclusive
from sam_attribution._validation import codes_among, num_samples, take_rows
from sam_attribution.detection._probabilities import log_odds
from sam_attribution.fitting import (
    checked_rows,
    estimator_or_default,
    has_classes,
    net_of,
    rows_at_net,
)
from sam_attribution.problem import network_of

_ROWS_AT_A_TIME = 2**12


class NewRows:
    """Class probabilities of rows that no network has seen, calibrated by those that fit held out.

    Parameters
    ----------
    evidence : list of SplitEvidence
    noise : NoiseShare
    n_samples : int
        Rows that were given to ``fit``.
    """

    def __init__(self, evidence, noise, n_samples):
        memberships, self._calibration, transition = noise.of_other_rows()
        self._networks = [each.judging_network(memberships, n_samples) for each in evidence]
        self._of_class = of_class = evidence[0].trained.net.logit_of_class
        self.log_transition = np.log(transition[np.ix_(of_class, of_class)])

    def log_probabilities(self, estimators, X):
        """Log-probability (n, n_classes) of each class of ``classes_``.

        Parameters
        ----------
        estimators : list
            The fitted estimators of the splits.
        X : rows as they are given to an estimator
        """
        pairs = zip(estimators, self._networks, strict=True)
        early, later = zip(*(_scores_by(*pair, X) for pair in pairs), strict=True)
        shared = [np.mean(kind, axis=0) for kind in zip(*early, strict=True)]
        found = [self._calibration.log_probabilities([*shared, *own]) for own in later]
        return (logsumexp(found, axis=0) - np.log(len(found)))[:, self._of_class]


def _scores_by(estimator, judging, X):
    net = net_of(estimator)
    rows, _ = net.to_tensors(rows_at_net(estimator, X))
    return judging.scores(network_of(net, rows), rows)


def judges_labels(detector):
    """True, or an AttributeError for the targets of a regression."""
    if not has_classes(estimator_or_default(detector.estimator)):
        raise AttributeError(
            "a detector of a regressor judges only the targets of fit, in issues_. For other "
            "rows compare their targets with estimator_.predict(X)."
        )
    return True


class JudgesNewRows:
    """Questions to a fitted detector about rows that were not in ``fit``."""

    @available_if(judges_labels)
    def score_samples(self, X, y=None):
        """Score rows that were not in ``fit``, by the networks of all splits.

        Parameters
        ----------
        X : array-like of shape (n, ...), or rows such as those of ``fit``
        y : array-like of shape (n,), optional
            Labels of the rows, among ``classes_``. None takes the labels of a Dataset; for other
            rows it takes the most probable label, and the score is then the confidence in it.

        Returns
        -------
        ndarray of shape (n,)
            Log-odds of the given label against all the others: low = suspicious. The
            probabilities are calibrated by the rows that ``fit`` held out.

        Raises
        ------
        ValueError
            For labels that were not in ``fit``, or rows that do not fit the estimator.

        Notes
        -----
        The score of a row does not depend on the other rows. Pass new rows only: the networks have
        learned the labels of the rows of ``fit``, whose scores are ``scores_``. The cost is a
        forward pass for each of up to six states of each network.
        """
        check_is_fitted(self)
        check_order(X=X, y=y)
        X, y = with_own_targets(X, y)
        if y is None:
            log_p = self._log_proba_of(X)
            return _log_odds(log_p, log_p.argmax(1))
        codes, log_p = codes_among(self.classes_, y, "y"), self._log_proba_of(X, y)
        return _log_odds(log_p + self._new_rows.log_transition[:, codes].T, codes)

    @available_if(judges_labels)
    def predict_label_proba(self, X):
        """Probability of each label to be the true one of rows that were not in ``fit``.

        Parameters
        ----------
        X : array-like of shape (n, ...), or rows such as those of ``fit``

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``. No given label is used.
        """
        check_is_fitted(self)
        return np.exp(self._log_proba_of(X))

    @exclusive()
    def _log_proba_of(self, X, y=None):
        X = checked_rows(self, X)
        if y is not None:
            check_consistent_length(X, y)
        found = []
        for start in range(0, num_samples(X), _ROWS_AT_A_TIME):
            rows = np.arange(start, min(start + _ROWS_AT_A_TIME, num_samples(X)))
            some = X if len(rows) == num_samples(X) else take_rows(X, rows)
            found.append(self._new_rows.log_probabilities(self.estimators_, some))
        log_p = np.concatenate(found)
        _check_finite(log_p)
        return log_p


def _log_odds(log_p, codes):
    return log_odds(torch.as_tensor(log_p), torch.as_tensor(codes)).numpy()


def _check_finite(log_p):
    bad = np.flatnonzero(~np.isfinite(log_p).all(1))
    if len(bad):
        raise ValueError(
            f"X has rows for which the networks give no finite numbers, such as row {bad[0]}. "
            "Look for missing or huge values there."
        )
