"""Train on the rows that help: score them, drop the lowest, refit."""

import warnings
from numbers import Real
from os import PathLike

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d, get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sam_attribution._score_cache import fitted_scores
from sam_attribution._seeding import seed_nested
from sam_attribution._validation import (
    HasMethods,
    Interval,
    check_parameters,
    check_sample_weight,
    take_rows,
)
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier


def _fitted_or_given_has(name):
    """Whether the classifier that answers, or the one that will, has the method `name`."""

    def check(filtered):
        getattr(getattr(filtered, "estimator_", None) or filtered._classifier(), name)
        return True

    return check


class FilteredClassifier(ClassifierMixin, BaseEstimator):
    """Classifier trained without the rows that score lowest.

    Parameters
    ----------
    estimator : classifier, default=None
        What is trained on the rows that stay; None stands for ``SAMClassifier()``.
    scorer : estimator, default=None
        Its ``fit(X, y)`` leaves ``scores_`` of shape (n_samples,), low for the rows to drop:
        a `SAMInfluence` or `MislabelDetector`. None stands for the influence on the worst class
        of validation margins in 3 folds, computed on `estimator` if it is (or is a pipeline that
        ends in) a `SAMClassifier`, else on ``SAMClassifier()``.
    removal_fraction : float, default=0.1
        Share of the rows to drop, in [0, 1); 0 scores nothing.
    memory : str, path or joblib.Memory, default=None
        Where scores are kept on disk, shared by processes. With an integer `random_state` scores
        are kept in this process in any case.
    random_state : int, RandomState instance or None, default=None
        Handed on to every ``random_state`` inside `scorer` and `estimator` that is None. None
        makes every fit a new one, so nothing is cached.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Scores of the rows given to ``fit``; not there for ``removal_fraction=0``.
    kept_ : ndarray of shape (n_samples,), dtype bool
        False for the rows that were dropped.
    estimator_ : classifier
        Trained on the rows that stayed.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features, if `estimator_` knows it; ``feature_names_in_`` likewise.

    See Also
    --------
    sam_attribution.SAMInfluence : The scores.

    Notes
    -----
    Scores depend on the scorer and the rows only, so a search over ``removal_fraction`` computes
    them once per fold. Scorers are told apart by their parameters, their weights and the code of
    their classes; functions that this code calls by a global name are not looked into.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sam_attribution import FilteredClassifier, SAMClassifier
    >>> X, y = make_blobs(60, centers=2, random_state=0)
    >>> filtered = FilteredClassifier(SAMClassifier(max_epochs=2), random_state=0).fit(X, y)
    >>> int(filtered.kept_.sum())
    54
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "scorer": [HasMethods(["fit"]), None],
        "removal_fraction": [Interval(Real, 0, 1, closed="left")],
        "memory": [str, PathLike, HasMethods(["cache"]), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        scorer=None,
        removal_fraction=0.1,
        memory=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.scorer = scorer
        self.removal_fraction = removal_fraction
        self.memory = memory
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        """Score the rows, drop the lowest and train on the others.

        Parameters
        ----------
        X : array-like, sparse matrix or dataframe of shape (n_samples, ...)
            Training rows, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Goes to the estimator, and to the scorer if its ``fit`` takes weights.

        Returns
        -------
        self : FilteredClassifier

        Raises
        ------
        ValueError
            If a class would lose all of its rows.
        """
        check_parameters(self)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        X, y = indexable(X, y)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        self._forget()
        self.kept_ = self._judge(X, y, sample_weight)
        _check_classes_stay(y, self.kept_, self.removal_fraction)
        self.estimator_ = self._refit(X, y, sample_weight)
        self.classes_ = self.estimator_.classes_
        return self

    @available_if(_fitted_or_given_has("predict"))
    def predict(self, X):
        """Class labels of the rows of `X`, shape (n_samples,)."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(_fitted_or_given_has("predict_proba"))
    def predict_proba(self, X):
        """Class probabilities of the rows of `X`, shape (n_samples, n_classes)."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_fitted_or_given_has("decision_function"))
    def decision_function(self, X):
        """Decision values of the rows of `X`, as the estimator gives them."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)

    @property
    def n_features_in_(self):
        return self._of_estimator("n_features_in_")

    @property
    def feature_names_in_(self):
        return self._of_estimator("feature_names_in_")

    def __sklearn_tags__(self):
        tags, inner = super().__sklearn_tags__(), get_tags(self._classifier())
        tags.input_tags, tags.classifier_tags = inner.input_tags, inner.classifier_tags
        tags.non_deterministic = inner.non_deterministic
        return tags

    def _of_estimator(self, name):
        if not hasattr(self, "estimator_"):
            raise AttributeError(f"{type(self).__name__} has no {name!r} before fit.")
        return getattr(self.estimator_, name)

    def _forget(self):
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _classifier(self):
        return SAMClassifier() if self.estimator is None else self.estimator

    def _scorer(self):
        if self.scorer is None:
            return default_scorer(self._classifier(), self.random_state)
        return clone(self.scorer)

    def _judge(self, X, y, sample_weight):
        """Mask of the rows that stay; leaves ``scores_`` where any were needed."""
        if self.removal_fraction == 0:
            return np.ones(len(y), dtype=bool)
        scorer = self._scorer()
        takes_weight = sample_weight is not None and has_fit_parameter(scorer, "sample_weight")
        self.scores_ = fitted_scores(
            seed_nested(scorer, self.random_state),
            X,
            y,
            {"sample_weight": sample_weight} if takes_weight else {},
            memory=self.memory,
            random_state=self.random_state,
        )
        _check_scores(self.scores_, len(y))
        return rows_to_keep(self.scores_, self.removal_fraction)

    def _refit(self, X, y, sample_weight):
        estimator = seed_nested(clone(self._classifier()), self.random_state)
        fit_params = {}
        if sample_weight is not None:
            fit_params[_weight_name(estimator)] = sample_weight[self.kept_]
        return estimator.fit(take_rows(X, self.kept_), y[self.kept_], **fit_params)


def default_scorer(estimator, random_state=None):
    """Influence on the worst class of validation margins in 3 shuffled folds.

    Parameters
    ----------
    estimator : classifier
        Scored itself if it is, or is a pipeline that ends in, a `SAMClassifier`; otherwise a
        ``SAMClassifier()`` stands in for it.
    random_state : int, RandomState instance or None, default=None
        Draws the folds.

    Returns
    -------
    SAMInfluence
    """
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return SAMInfluence(
        clone(estimator) if isinstance(last, SAMClassifier) else SAMClassifier(),
        evaluation="margin",
        aggregate="worst-class",
        validation=StratifiedKFold(3, shuffle=True, random_state=random_state),
    )


def rows_to_keep(scores, removal_fraction):
    """Mask of the rows that stay when the lowest scores go.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        NaN for a row that was not judged: it stays.
    removal_fraction : float
        ``round(removal_fraction * n_samples)`` rows go, as far as that many were judged. Equal
        scores go in the order of the rows, so a larger fraction removes the same rows and more.

    Returns
    -------
    kept : ndarray of shape (n_samples,), dtype bool

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.filtering import rows_to_keep
    >>> rows_to_keep(np.array([0.3, -1.0, np.nan, 0.1]), 0.5)
    array([ True, False,  True, False])
    """
    n_judged = int(np.sum(~np.isnan(scores)))
    n_removed = min(round(removal_fraction * len(scores)), n_judged)
    kept = np.ones(len(scores), dtype=bool)
    kept[np.argsort(scores, kind="stable")[:n_removed]] = False  # NaN sorts last
    return kept


def _weight_name(estimator):
    """Name under which ``estimator.fit`` takes the weights: a pipeline's last step gets them."""
    is_pipeline = isinstance(estimator, Pipeline)
    return f"{estimator.steps[-1][0]}__sample_weight" if is_pipeline else "sample_weight"


def _check_scores(scores, n_samples):
    if scores.shape != (n_samples,):
        raise ValueError(
            f"scorer must leave scores_ of shape ({n_samples},), one for each row, got shape "
            f"{scores.shape}."
        )
    unjudged = np.isnan(scores).mean()
    if unjudged:
        warnings.warn(
            f"{unjudged:.1%} of the rows have no score and stay, right or wrong: the scorer held "
            f"them out. A cross-validation splitter as its validation judges every row.",
            stacklevel=4,
        )


def _check_classes_stay(y, kept, removal_fraction):
    lost = np.setdiff1d(y, y[kept])
    if len(lost):
        raise ValueError(
            f"removal_fraction={removal_fraction} would drop every row of class "
            f"{', '.join(map(repr, lost.tolist()))}. Lower it, or look at the scores of that class."
        )
