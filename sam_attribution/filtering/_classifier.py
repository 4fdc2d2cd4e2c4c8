"""A classifier that drops its most harmful rows before it trains."""

from sklearn import get_config
from sklearn.base import ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sam_attribution._accuracy import Accuracy
from sam_attribution._seeding import seed_nested
from sam_attribution._validation import HasMethods, StrOptions, take_rows
from sam_attribution.filtering._replayed_refit import check_can_replay, replayed_refit
from sam_attribution.filtering._row_filter import RowFilter
from sam_attribution.fitting import net_of
from sam_attribution.training import SAMClassifier, is_adopted


def _fitted_or_given_has(name):
    """Condition for ``available_if``: the classifier has the method `name`."""

    def check(filtered):
        getattr(getattr(filtered, "estimator_", None) or filtered._classifier(), name)
        return True

    return check


class FilteredClassifier(Accuracy, ClassifierMixin, RowFilter):
    """Classifier trained without the rows that score lowest.

    Parameters
    ----------
    estimator : classifier, default=None
        Classifier to train on the rows that stay. None stands for ``SAMClassifier()``.
    scorer : estimator, default=None
        Its ``fit(X, y)`` leaves ``scores_`` of shape (n_samples,), low for the rows to drop:
        a :class:`~sam_attribution.MislabelDetector` or a :class:`~sam_attribution.SAMInfluence`,
        for example. Either of them trains `estimator` if its own is None; if that does not end in
        a `SAMClassifier`, one with its defaults stands in for the last step. None is
        ``MislabelDetector()``.
    removal_fraction : float or "auto", default="auto"
        "auto" drops the rows that the scorer calls suspicious (``suspicious_``), which are none
        where nothing looks wrong; a class of which all rows are suspicious stays. A share of the
        rows, in [0, 1), drops that many, whatever they are. A ``SAMInfluence`` needs a share. 0
        scores nothing.
    refit : {"retrain", "replay"}, default="retrain"
        "retrain" trains `estimator` on the rows that stay. "replay" trains it on all rows and
        repeats the last tenth of that training without the dropped rows (with all rows, if none is
        dropped), as :meth:`SAMInfluence.remove <sam_attribution.SAMInfluence.remove>` does: for a
        net of this package, or a Pipeline that ends in one, whose training is recorded. The
        training on all rows does not depend on `removal_fraction`, so that a search over it trains
        once per fold.
        The share that it chooses can be too large for "retrain". The steps of a Pipeline stay
        fitted on all rows.
    memory : "auto", str, path, joblib.Memory or None, default="auto"
        Where scores are kept, so that another fit on the same rows does not compute them again;
        only an integer `random_state` makes them repeatable. "auto" keeps them in this process. A
        folder keeps them on disk as well, shared by processes. None keeps nothing. The trainings
        on all rows of ``refit="replay"`` are kept in the same way.
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
        Trained on the rows that stayed. After ``refit="replay"`` its training is not recorded, so
        that it cannot be attributed.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features, if `estimator_` knows it; ``feature_names_in_`` likewise.

    See Also
    --------
    sam_attribution.MislabelDetector : The scores by default.
    sam_attribution.SAMInfluence : Other scores.

    Notes
    -----
    Scores depend on the scorer and the rows only, so a search over ``removal_fraction``, such as
    ``[0, "auto", 0.1, 0.2]``, computes them once per fold, unless ``memory=None``. Two scorers
    count as the same if their parameters, their weights and the code of their classes are equal;
    functions that this code calls by a global name are not compared. A search over
    ``estimator__lr`` reaches a scorer without an estimator of its own as well.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sam_attribution import FilteredClassifier, SAMClassifier
    >>> X, y = make_blobs(200, centers=2, cluster_std=0.7, random_state=0)
    >>> y[:3] = 1 - y[:3]
    >>> filtered = FilteredClassifier(
    ...     SAMClassifier(max_epochs=10), random_state=0
    ... ).fit(X, y)
    >>> (~filtered.kept_).nonzero()
    (array([0, 1, 2]),)
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "refit": [StrOptions({"retrain", "replay"})],
        **RowFilter._parameter_constraints,
    }

    def __init__(
        self,
        estimator=None,
        *,
        scorer=None,
        removal_fraction="auto",
        refit="retrain",
        memory="auto",
        random_state=None,
    ):
        self.estimator = estimator
        self.scorer = scorer
        self.removal_fraction = removal_fraction
        self.refit = refit
        self.memory = memory
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Score the rows, drop the lowest and train on the others.

        Parameters
        ----------
        X : array-like, sparse matrix or dataframe of shape (n_samples, ...), dict or Dataset
            Training rows, as the estimator takes them.
        y : array-like of shape (n_samples,)
            Labels. None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), default=None
            Goes to the estimator, and to the scorer if its ``fit`` takes weights. Of a
            pipeline the last step gets them; with metadata routing the steps that asked by
            ``set_fit_request(sample_weight=True)``.
        groups : array-like of shape (n_samples,), default=None
            Groups of rows that belong together, for the scorer's `validation`.

        Returns
        -------
        self : FilteredClassifier

        Raises
        ------
        ValueError
            If `removal_fraction` would drop all rows of a class, or is "auto" and the scorer says
            of no row that it is suspicious or not; if ``refit="replay"`` and the training of the
            estimator cannot be repeated, or diverges when it is.

        Warns
        -----
        AttributionWarning
            If ``refit="replay"`` raises the loss of the kept rows by more than a quarter and 0.01.
        """
        X, y, sample_weight = self._checked(X, y, sample_weight, groups)
        _refuse_adopted(self._classifier())
        if self.refit == "replay":
            check_can_replay(self._classifier(), X, y, sample_weight)
        self.kept_ = self._judge(X, y, sample_weight, groups)
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

    def _classifier(self):
        return SAMClassifier() if self.estimator is None else self.estimator

    def _refit(self, X, y, sample_weight):
        estimator = seed_nested(clone(self._classifier()), self.random_state)
        if self.refit == "replay":
            how = {"memory": self.memory, "random_state": self.random_state}
            return replayed_refit(estimator, _fit, X, y, sample_weight, self.kept_, **how)
        weights = None if sample_weight is None else sample_weight[self.kept_]
        return _fit(estimator, take_rows(X, self.kept_), y[self.kept_], weights)


def _fit(estimator, X, y, sample_weight):
    named = {} if sample_weight is None else {_weight_name(estimator): sample_weight}
    return estimator.fit(X, y, **named)


def _refuse_adopted(estimator):
    if is_adopted(net_of(estimator)):
        raise ValueError(
            "estimator is trained on the rows that stay, and a net of from_module is never "
            "trained. Pass SAMClassifier(module) as estimator, and the adopted net to the scorer: "
            "scorer=MislabelDetector(net, validation=ValidationData(X_val, y_val))."
        )


def _weight_name(estimator):
    """Name under which ``estimator.fit`` takes the weights: a pipeline's last step gets them."""
    # with metadata routing the steps have said themselves who wants weights
    if isinstance(estimator, Pipeline) and not get_config()["enable_metadata_routing"]:
        return f"{estimator.steps[-1][0]}__sample_weight"
    return "sample_weight"
