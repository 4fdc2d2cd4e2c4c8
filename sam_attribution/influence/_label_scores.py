"""The part of SAMInfluence that scores rows for labels: those they carry, and all others."""

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sam_attribution._row_order import check_order
from sam_attribution._warnings import warn
from sam_attribution.fitting import checked_rows, estimator_or_default, has_classes
from sam_attribution.influence._methods import METHODS
from sam_attribution.problem import equal_rows

_ROWS_OF_FIT = (
    "X holds {} rows of fit, which are scored here like new rows: as if they had been in every "
    "batch with weight 1/n. Read scores_ and transform_train_, which use the batches of each row."
)


def scores_any_row(influence):
    """True, or an AttributeError if only the rows of ``fit`` can be scored."""
    if not getattr(_method_of(influence), "has_probes", True):  # fit refuses what is no method
        raise AttributeError(
            f"method={influence.method!r} scores only the rows of fit with their own labels. "
            'Read scores_, call attribute, or use another method, such as "gif".'
        )
    return True


def knows_labels(influence):
    """True, or an AttributeError if rows have no other labels that could be asked about."""
    scores_any_row(influence)
    if not has_classes(estimator_or_default(influence.estimator)):
        raise AttributeError(
            "a regressor or SAMNet has targets instead of classes, so there is no table of the "
            "labels that a row might carry. Use scores_, or score_samples(X, y) for rows with "
            "targets."
        )
    return True


def _method_of(influence):
    """The method of the last fit, or else the one that `method` stands for."""
    if attributions := getattr(influence, "attributions_", None):
        return attributions[0].method
    method = influence.method
    return METHODS[method]() if isinstance(method, str) and method in METHODS else method


class LabelScores(TransformerMixin):
    """Scores of any rows with any labels: a transformer whose columns are labels."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # only now: what scikit-learn wraps for set_output is always there
        for name in ("transform", "fit_transform"):
            setattr(cls, name, available_if(knows_labels)(getattr(cls, name)))

    @property
    def transform_train_(self):
        knows_labels(self)
        check_is_fitted(self)
        return self._transform_train

    @available_if(scores_any_row)
    def score_samples(self, X, y=None):
        """Score rows as if each had been in training, in every batch with weight 1/n.

        Parameters
        ----------
        X : array-like of shape (n, ...)
        y : array-like of shape (n,), optional
            Labels of the rows; by default the model's predictions. A regressor needs them.

        Returns
        -------
        ndarray of shape (n,)
            Mean score over the splits: positive = helpful.
        """
        check_is_fitted(self)
        check_order(X=X, y=y)
        X = checked_rows(self, X)
        models = [attribution.trained for attribution in self.attributions_]
        y = self._targets.predicted(models, X) if y is None else y
        return self._row_scores(X, y)

    def transform(self, X):
        """Score rows with each label, as if they had been in training.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``. The mean over the splits.
        """
        check_is_fitted(self)
        return self._row_scores(checked_rows(self, X))

    @available_if(knows_labels)
    def suggest_labels(self, X=None):
        """Return the label with which each row helps most.

        Parameters
        ----------
        X : array-like of shape (n, ...), optional
            By default the rows of ``fit``; those that were not trained on keep their label.

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self)
        if X is not None:
            return self.classes_[self._row_scores(checked_rows(self, X)).argmax(1)]
        judged = ~np.isnan(self.scores_)
        suggested = self._y.copy()
        suggested[judged] = self.classes_[self.transform_train_[judged].argmax(1)]
        return suggested

    @available_if(knows_labels)
    def get_feature_names_out(self, input_features=None):
        """Names of the columns of ``transform``: ``saminfluence_<label>``."""
        check_is_fitted(self)
        return np.array([f"saminfluence_{label}" for label in self.classes_], dtype=object)

    def _row_scores(self, X, y=None):
        """Mean over the splits, for every label without `y`."""
        given = [each.trained.tensors(X, y) for each in self.attributions_]
        pairs = zip(self.attributions_, given, strict=True)
        found = [each.row_scores(*tensors) for each, tensors in pairs]
        self._warn_of_rows_of_fit(given[0][0])
        scores = np.mean([to_numpy(scores) for scores in found], axis=0)
        return by_class(scores, self.attributions_) if y is None else scores

    def _warn_of_rows_of_fit(self, X):
        """Warn if some of the rows `X` have other scores in ``scores_``."""
        first = self.attributions_[0]
        if not first.prepared.rows_are_exchangeable and (pairs := equal_rows(first.problem, X)):
            warn(_ROWS_OF_FIT.format(len(pairs)))


def by_class(table, attributions):
    """Columns of a table with one per logit, in the order of ``classes_``."""
    return table[:, attributions[0].trained.net.logit_of_class]


def to_numpy(tensor):
    """Scores as an array of float64."""
    return tensor.detach().cpu().numpy().astype(np.float64)
