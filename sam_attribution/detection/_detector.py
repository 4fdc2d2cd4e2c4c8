"""MislabelDetector: which labels are wrong, as a scikit-learn estimator."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sam_attribution._seeding import draw_seed
from sam_attribution._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_parameters,
    check_sample_weight,
)
from sam_attribution.detection._probabilities import log_odds
from sam_attribution.detection._training import judge_runs, judge_splits
from sam_attribution.detection._verdict import Verdict
from sam_attribution.influence import (
    Labels,
    SAMInfluence,
    check_no_bare_rows,
    check_request,
    checked_training_rows,
    clones,
    make_splits,
    net_of,
    targets_of,
    unfitted,
)
from sam_attribution.review import review_page
from sam_attribution.validation_data import ValidationData


class MislabelDetector(BaseEstimator):
    """Find rows whose label is wrong.

    ``fit`` trains clones of a :class:`~sam_attribution.SAMClassifier` on the labels as given and
    looks at a few states of the training. Two witnesses are heard on every label: what the
    network itself said while it was learning, and where the row lies among the classes in the
    network's last features, its own label apart; trusted validation rows are a third. The log-odds
    of all are the score: **low = suspicious**.

    Parameters
    ----------
    estimator : SAMClassifier, Pipeline or FrozenEstimator, default=None
        As for :class:`~sam_attribution.SAMInfluence`; it must keep states of its training
        (``trajectory=10``, the default).
    influence : SAMInfluence, default=None
        Rank by these scores instead, for example ``SAMInfluence(method="gif",
        evaluation="margin", aggregate="worst-class")``. Its `estimator`, `validation` and
        `random_state` are those of the detector. Everything but ``scores_`` and ``suspicious_``
        stays; rows held out as a fraction have no such score (NaN).
    validation : float, ValidationData or CV splitter, default=0.2
        Rows that the network does not learn: they tell how the labels are to be taken. A fraction
        is held out (stratified by class) and judged as well. :class:`~sam_attribution.
        ValidationData` is a set of your own, if possible of trusted labels. A splitter such
        as ``StratifiedKFold(5)`` trains one clone per split; what those trained on a row say of
        it is averaged (log-probabilities), or what the others say where none was.
    contamination : float or "auto", default="auto"
        Share of the rows to call suspicious, in [0, 1). ``auto`` estimates how many labels are
        wrong.
    n_jobs : int, default=None
        Splits to work on at once, by joblib's rules; `influence` has an `n_jobs` of its own.
    random_state : int, RandomState instance or None, default=None
        Draws the split and goes to clones that have no ``random_state`` of their own.
    verbose : int, default=0
        Above 0 shows a progress bar over the splits.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Log-odds of the given label against all the others (nats, not calibrated); with
        `influence` its scores. Low = suspicious.
    suspicious_ : ndarray of shape (n_samples,), dtype bool
        That share (``contamination_``) of the judged rows, those with the lowest scores.
    suggested_labels_ : ndarray of shape (n_samples,)
        The most probable label of every row; often the one it has.
    what_if_ : ndarray of shape (n_samples, n_classes)
        Log-probability of each label to be the true one; NaN for a row that no split held.
    parts_ : DataFrame
        What each witness says of the given label, in log-probability: ``network``, the mean
        probability over the states looked at; ``classes``, the row's place among the classes of
        the rows trained on; ``trusted``, that among the classes of trusted validation rows, where
        there are such; with `influence` also ``influence``. Low = suspicious. The index is that
        of `X`, if it has one.
    contamination_ : float
        `contamination`, or the estimated share of wrong labels.
    transition_ : ndarray of shape (n_classes, n_classes)
        Estimated probability of each given label (second axis), per true class.
    diagnostics_ : DataFrame
        One row per split. ``labels``: whether classes are taken over the rows as labelled ("at
        their word") or as they are likely to be ("corrected"); ``validation``: whether the
        held-out labels are "trusted" or "as noisy" as the others; and the reasons, in standard
        errors: ``agreement``, how much better the labels of a ``ValidationData`` fit than those
        trained on, before training (2.58 make them trusted, -2.58 if clean suits them better
        besides; NaN for rows of the same data); ``gain``, how much more probable the corrected
        account makes the held-out labels (above 0 it is taken). And ``wrong_share``,
        ``n_train``, ``n_held_out`` and ``seconds_judging``.
    given_labels_ : ndarray of shape (n_samples,)
        The labels given to ``fit``.
    classes_ : ndarray of shape (n_classes,)
        Those that the network tells apart.
    estimator_, estimators_ : the trained clone of the first split, and those of all
    influence_ : SAMInfluence
        The fitted `influence`, if there is one.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If `X` has such names.

    See Also
    --------
    sam_attribution.review.apply_decisions : Act on what a person decided.
    FilteredClassifier : Drop the lowest-scored rows and train again.

    Notes
    -----
    Classes are Gaussians of one covariance in the input of the last linear layer (in the logits
    of a module that does not end in one), cross-fitted in 5 folds at the states nearest to 5, 15,
    25, 45 and 75 % of training [1]_. They are estimated from the labels at their word, and again
    by expectation maximisation over a transition from true to given labels. **The held-out labels
    decide**: labels are taken at their word unless the corrected account makes the held-out ones
    more probable. So confusions that are systematic are told from classes that are hard to tell
    apart.

    The labels of a ``ValidationData`` are trusted if they fit the classes significantly (1 %)
    better than those trained on, in the features of the network before training, which no label
    has touched; or worse, as right labels do where confusions are one-sided, and clean suits them
    better than noisy. The classes of the trusted rows are then a third witness. `contamination`
    is what the transition comes to at the early states, before the network has learnt wrong
    labels by heart.

    Without a trusted set a confusion that *all* the labels agree on (every second owl is called
    a hawk) looks like the truth where most of a class has it. Labels that are wrong because the
    row itself is ambiguous are ranked, but hardly counted: ``contamination="auto"`` is then too
    small.

    Beyond the training it costs a forward pass over all rows for each of these states (with
    ``ValidationData`` one more, over up to 3000 rows) and some products of n_samples x n_features
    x n_classes; memory for five copies of the last features and of the table n_samples x
    n_classes.

    References
    ----------
    .. [1] Lee et al., Robust Inference via Generative Classifiers for Handling Noisy Labels,
       arXiv:1901.11300.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sam_attribution import MislabelDetector, SAMClassifier
    >>> from sam_attribution.datasets import pair_noise
    >>> X, y = load_digits(return_X_y=True)
    >>> noisy, wrong = pair_noise(y, 0.2, random_state=0)
    >>> detector = MislabelDetector(SAMClassifier(max_epochs=15), random_state=0).fit(X / 16, noisy)
    >>> found = detector.suspicious_
    >>> bool(wrong[found].mean() > 0.8 and found[wrong].mean() > 0.9)
    True
    """

    _parameter_constraints = {
        "estimator": [None, HasMethods("fit")],
        "influence": [None, SAMInfluence],
        "validation": [
            Interval(Real, 0, 1, closed="neither"),
            ValidationData,
            HasMethods(["split", "get_n_splits"]),
        ],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        influence=None,
        validation=0.2,
        contamination="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.influence = influence
        self.validation = validation
        self.contamination = contamination
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Train on the labels as given and judge them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, ...)
        y : array-like of shape (n_samples,)
            Labels of any type.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, in training and in what classes look like.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad parameters or data, naming the argument; for a regressor; if the estimator
            keeps no state of its training.

        Warns
        -----
        UserWarning
            If the features tell the held-out labels hardly better than class sizes do.
        """
        check_no_bare_rows(self.validation)
        check_parameters(self)
        check_request(unfitted(self.estimator), self.validation)
        targets = _class_targets(unfitted(self.estimator))
        _check_influence(self.influence)
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        X, y = checked_training_rows(self, X, y, targets)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        judged = self._judged(X, y, sample_weight, targets)
        self._collect(X, y, judged)
        return self

    def fit_predict(self, X, y, sample_weight=None):
        """Fit, and call each row suspicious (-1) or fine (1).

        Parameters
        ----------
        X, y, sample_weight : as for :meth:`fit`

        Returns
        -------
        ndarray of shape (n_samples,), dtype int
        """
        return np.where(self.fit(X, y, sample_weight).suspicious_, -1, 1)

    def report(
        self,
        path,
        X,
        *,
        class_names=None,
        descriptions=None,
        image_shape=None,
        n_rows=None,
        title="Label review",
    ):
        """Write a page on which a person decides: one HTML file, most suspicious rows first.

        Decisions are exported from the page as CSV, which
        :func:`~sam_attribution.review.apply_decisions` reads back.

        Parameters
        ----------
        path : str or path-like
            Of the HTML file.
        X : array-like of n_samples rows
            The rows of ``fit``, or what shows them better: images or texts, in the same order.
        class_names : list of str or dict, optional
            What to call the classes: in the order of ``classes_``, or by label.
        descriptions : list of str, optional
            A line of text for each row.
        image_shape : tuple of int, optional
            Shape of an image whose pixels are a flat row of `X`.
        n_rows : int, optional
            Show the most suspicious ones only. All by default.
        title : str, default="Label review"

        Returns
        -------
        pathlib.Path
            Of the file.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            As :func:`~sam_attribution.review.review_page`, for instance if `X` has another number
            of rows than ``fit`` had.
        """
        check_is_fitted(self)
        n_rows_of_fit, n_given = len(self.scores_), X.shape[0] if hasattr(X, "shape") else len(X)
        if n_given != n_rows_of_fit:
            raise ValueError(
                f"X must show the {n_rows_of_fit} rows of fit, in their order, got {n_given} rows. "
                "Show some of them only with n_rows."
            )
        return review_page(
            path,
            X,
            given=self.given_labels_,
            suggested=self.suggested_labels_,
            scores=self.scores_,
            suspicious=self.suspicious_,
            score_components=self.parts_,
            label_scores=self.what_if_,
            classes=self.classes_,
            class_names=class_names,
            descriptions=descriptions,
            image_shape=image_shape,
            n_rows=n_rows,
            title=title,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags = get_tags(unfitted(self.estimator)).input_tags
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scores_")  # influence_ is there earlier

    def _judged(self, X, y, sample_weight, targets):
        """Train on every split, or let the influence do so, and judge."""
        seed = draw_seed(self.random_state)
        splits = make_splits(self.validation, X, y, targets, seed)
        if self.influence is None:
            twins = clones(unfitted(self.estimator), len(splits), seed, None)
            settings = {"n_jobs": self.n_jobs, "verbose": self.verbose}
            return judge_splits(twins, splits, X, y, sample_weight, **settings)
        validation = self.validation
        if not isinstance(validation, ValidationData):
            validation = check_cv([(split.train, split.held_out) for split in splits])
        self.influence_ = clone(self.influence).set_params(
            estimator=self.estimator, validation=validation, random_state=seed
        )
        self.influence_.fit(X, y, sample_weight)
        return judge_runs(self.influence_._runs, splits)

    def _collect(self, X, y, judged):
        verdict, classes = Verdict(judged), net_of(judged[0].estimator).classes_
        table, parts = verdict.of_rows(len(y))
        codes = np.searchsorted(classes, y)
        self.classes_, self.given_labels_ = classes, y.copy()
        self.what_if_ = table
        best = np.nan_to_num(table, nan=-np.inf).argmax(1)
        self.suggested_labels_ = np.where(np.isnan(table[:, 0]), y, classes[best])
        self.transition_ = verdict.transition
        self.diagnostics_ = verdict.diagnostics()
        self.estimators_ = [each.estimator for each in judged]
        self.estimator_ = self.estimators_[0]
        self.parts_ = pd.DataFrame(parts, getattr(X, "index", None), verdict.witnesses)
        auto = self.contamination == "auto"
        self.contamination_ = verdict.wrong_share if auto else float(self.contamination)
        self.scores_ = log_odds(torch.as_tensor(table), torch.as_tensor(codes)).numpy()
        if self.influence is not None:
            self.scores_ = self.parts_["influence"] = self.influence_.scores_.copy()
        self.suspicious_ = _lowest(self.scores_, self.contamination_)


def _class_targets(estimator):
    targets = targets_of(estimator)
    if not isinstance(targets, Labels):
        raise ValueError(
            f"estimator must be a classifier, got a {type(net_of(estimator)).__name__}: a "
            "regressor has no labels that could be wrong. Rank its rows with SAMInfluence."
        )
    return targets


def _check_influence(influence):
    if influence is not None and influence.estimator is not None:
        raise ValueError(
            "influence takes the estimator of MislabelDetector, but got one of its own: "
            f"{influence.estimator!r}. Pass MislabelDetector(estimator, influence=...) and leave "
            "that of the influence None."
        )


def _lowest(scores, share):
    """Mask of that share of the rows, those with the lowest scores; NaN is never low."""
    order = np.argsort(scores, kind="stable")
    lowest = np.zeros(len(scores), dtype=bool)
    lowest[order[: round(share * np.sum(~np.isnan(scores)))]] = True
    return lowest
