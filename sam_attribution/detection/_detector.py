"""MislabelDetector: detection of wrong labels, as a scikit-learn estimator."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sam_attribution._printing import Printed
from sam_attribution._ranking import lowest
from sam_attribution._tables import diagnostics_table
from sam_attribution._turns import exclusive
from sam_attribution._validation import HasMethods, Interval, StrOptions
from sam_attribution.detection._issues import issue_table
from sam_attribution.detection._label_judge import LabelJudge
from sam_attribution.detection._new_rows import JudgesNewRows
from sam_attribution.detection._page_suggestions import page_suggestions
from sam_attribution.detection._probability_wrong import expected_quality, most_probable_f1
from sam_attribution.detection._report import WritesReport
from sam_attribution.detection._split_evidence import SplitEvidence
from sam_attribution.detection._target_judge import (
    TargetJudge,
    check_targets_vary,
    train_and_predict,
)
from sam_attribution.detection._trusted import check_trusted
from sam_attribution.diagnosis import warn_of_one_prediction
from sam_attribution.fitting import (
    AnyTargets,
    ClassTargets,
    check_settings,
    estimator_or_default,
    fit_data,
    net_of,
    over_splits,
    targets_of,
    train_split,
)
from sam_attribution.validation_data import ValidationData

_SIGNALS = {"network": "model's guess", "classes": "similar rows", "trusted": "checked rows"}


class MislabelDetector(Printed, JudgesNewRows, WritesReport, BaseEstimator):
    """Find rows whose label, or target of a regression, is wrong.

    ``fit`` trains clones of a :class:`~sam_attribution.SAMClassifier` on the labels as given and
    uses a few recorded states of the training. The score combines two signals: the probabilities of
    the network itself while it was learning, and those of a class model in the network's last
    features, fitted without the row's own label. Trusted validation rows add a third signal. The
    held-out rows say how much each signal counts, and the score is the log-odds of the given label.
    **Low = suspicious.**

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator, default=None
        Network to train, as for :class:`~sam_attribution.SAMInfluence`. It must record states of
        its training, as it does by default (any `trajectory` but None).
    validation : float, int, ValidationData or CV splitter, default=0.2
        Rows that the network is not trained on; they choose the noise model. A fraction is held out
        (stratified by class) and judged as well. :class:`~sam_attribution.ValidationData` is a set
        of your own, if possible with checked labels. An integer is a number of shuffled stratified
        folds, drawn by `random_state`. Folds and other splitters train one clone per split. The
        log-probabilities of a row are averaged over the clones that were trained on it, or, if
        there are none, over those that held it out.
    trusted : bool or "auto", default="auto"
        True if the labels of a ``ValidationData`` were checked and are right. False if they may be
        as wrong as the others. ``auto`` decides by how well they fit; small or noisy differences do
        not count.
    contamination : float or "auto", default="auto"
        Share of the judged rows to mark as suspicious, in [0, 1). ``auto`` marks the rows of the
        largest expected F1.
    n_jobs : int, default=None
        Splits to work on at once, by joblib's rules.
    random_state : int, RandomState instance or None, default=None
        Seed of the split, and of clones that have no ``random_state`` of their own.
    verbose : int, default=0
        Above 0 shows a progress bar over the splits.

    Attributes
    ----------
    issues_ : DataFrame
        A row for each row of `X`, most suspicious first, with the index of `X` (positions, if it
        has none) and the columns ``given_label``, ``suggested_label``, ``probability_wrong``,
        ``score`` and ``is_suspicious``. It prints within 80 columns.
    scores_ : ndarray of shape (n_samples,)
        Log-odds of the given label against all the others (nats, not calibrated). Low =
        suspicious; NaN for a row that no split held.
    probability_wrong_ : ndarray of shape (n_samples,)
        Estimated probability that each label is wrong; too low for ambiguous rows with wrong
        labels. It never rises with ``scores_``. NaN for a row that no split held.
    suspicious_ : ndarray of shape (n_samples,), dtype bool
        True for the rows with the lowest scores: as many as give the largest expected F1, or the
        share `contamination`. No row is True if the probability that no label is wrong exceeds that
        F1.
    suggested_labels_ : ndarray of shape (n_samples,)
        Most probable label of every row. It differs from the given label only where the probability
        of a wrong label is above one half.
    label_log_proba_ : ndarray of shape (n_samples, n_classes)
        Log-probability that each label is the true one; the given label has ``log(1 -
        probability_wrong_)``. NaN for a row that no split held.
    score_components_ : DataFrame
        Log-probability of the given label by each signal alone. ``network`` is the mean probability
        over the recorded states; ``classes`` comes from the class model of the rows trained on and
        the transition matrix; ``trusted`` comes from the class model of trusted validation rows, if
        there are any. Low = suspicious. The index is the index of `X`, if it has one.
    contamination_ : float
        Share `contamination`, or the estimated share of wrong labels: the mean of
        ``probability_wrong_``.
    contamination_interval_ : tuple of float
        90 % interval of the share of wrong labels, by weight if rows have weights.
    transition_ : ndarray of shape (n_classes, n_classes)
        Estimated probability of each given label (second axis), per true class.
    diagnostics_ : DataFrame
        One row per split, with the columns

        - ``noise_model``: "as given" if classes are fitted to the labels as given, "em" if they
          are fitted to the labels that are likely to be true;
        - ``validation``: "trusted" if the held-out labels are taken as right, "as noisy" if they
          are taken to be as noisy as the others;
        - ``agreement``: how much better the labels of a ``ValidationData`` fit than those trained
          on, before training, in standard errors. Above 2.58 they are trusted; below -2.58 they
          are trusted if clean fits them better than noisy; NaN for rows of the same data, and
          for checkpoints of which none is from before training;
        - ``gain``: how much more probable EM makes the held-out labels, in standard errors. Above
          0 the noise model by EM is taken;
        - ``n_train``, ``n_held_out``, ``seconds_scoring``;
        - ``skill``: how much better than chance the network of the split ranks the held-out labels,
          in standard errors (by chance below 2.33);
        - ``wrong_by_class``: a dict from each given label to the estimated share of its rows whose
          label is wrong, the largest first; the same in every row;
        - ``expected_precision``, ``expected_recall``: of ``suspicious_``, if ``probability_wrong_``
          is right. NaN if no row is suspicious; the same in every row.
    given_labels_ : ndarray of shape (n_samples,)
        Labels given to ``fit``.
    classes_ : ndarray of shape (n_classes,)
        Sorted class labels.
    estimator_ : SAMClassifier or Pipeline
        Trained clone of the first split.
    estimators_ : list
        Trained clones of all splits.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If `X` has such names.

    See Also
    --------
    sam_attribution.review.apply_decisions : Apply the decisions of a person.
    FilteredClassifier : Drop the lowest-scored rows and train again.

    Notes
    -----
    The class model has Gaussians of one covariance in the input of the last linear layer (in the
    logits of a module that does not end in one), cross-fitted in 5 folds at the states nearest to
    5, 15, 25, 45 and 75 % of training [1]_. It is fitted to the labels as given, and again by
    expectation maximisation over a transition matrix from true to given labels. **The held-out
    labels choose the noise model**: EM is taken only if it makes them more probable. This separates
    systematic confusions from classes that overlap.

    The score averages the logarithms of two posteriors of the true label. The first is the product
    of the signals and the transition matrix of the noise model. The second weights the signals, and
    class models of features that no label has changed, so that the given labels of the held-out
    rows are most probable under ``transition_``. Rows trained on get the weights that were found
    for held-out rows.

    The labels of a ``ValidationData`` are trusted if they fit the classes significantly (1 %)
    better than those trained on, in the features of the network before training, which depend on no
    label. They are also trusted if they fit significantly worse, as right labels do under one-sided
    confusions, and clean fits them better than noisy. The class model of the trusted rows is then a
    third signal, and the trusted rows decide the weights of all signals. If every class has a
    trusted row, their class models count in the second posterior as well, and those in untouched
    features in the share of wrong labels.

    The share of wrong labels comes from a likelihood over all rows. Rows trained on are judged by
    class models of features that no label has changed (of the network before its training, and of
    the rows themselves), held-out rows also by those of the trained network. Each noise rate from 0
    to 60 % (50 % with two classes) is tried with several noise patterns: the same rate for all
    classes, one of two classes only, a rate for each pair of classes, or, where little noise is
    found, for the few pairs that stand out. A pattern that explains the held-out labels worse than
    the first is dropped. The others are averaged, weighted by how well they explain the given
    labels. ``suspicious_`` has the rows of the largest expected F1 under ``probability_wrong_``. It
    has none where the probability that no label is wrong exceeds that F1.

    **The targets of a SAMRegressor** are judged by their residuals: target less the mean prediction
    over the states of the later half of training, out of fold where a split held the row out.
    Residuals of right targets follow a Student distribution; a wrong target may lie anywhere in the
    range of targets. ``scores_`` is the log-odds of the two, averaged over the share of wrong
    targets, and ``suggested_labels_`` is the prediction. Use ``validation=KFold(5, shuffle=True)``,
    because a network memorises the wrong targets that it is trained on. Attributes that need
    classes (``label_log_proba_``, ``transition_``, ``classes_``, ``score_components_``) do not
    exist.

    Without a trusted set, a confusion that most labels of a class share cannot be detected (if nine
    owls in ten are called hawks, the tenth looks wrong). Wrong labels of ambiguous rows get low
    scores, but are hardly counted, so ``contamination_`` is then too small. Only checked labels
    separate ambiguity from noise.

    The cost beyond training is a forward pass over all rows for each of these states and for the
    state before training (with ``ValidationData`` one more, over up to 3000 rows) and some products
    of n_samples x n_features x n_classes. Memory holds for each split five copies of the last
    features, in float32, one of the features before training and one of up to 256 numbers of each
    row (with ``ValidationData`` twice as many), and some arrays of shape (n_samples, n_classes).

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
    >>> detector = MislabelDetector(SAMClassifier(max_epochs=15), random_state=0).fit(
    ...     X / 16, noisy
    ... )
    >>> found = detector.suspicious_
    >>> bool(wrong[found].mean() > 0.8 and found[wrong].mean() > 0.9)
    True
    """

    _parameter_constraints = {
        "estimator": [None, HasMethods("fit")],
        "validation": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 2, None, closed="left"),
            ValidationData,
            HasMethods(["split", "get_n_splits"]),
        ],
        "trusted": [StrOptions({"auto"}), "boolean"],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        validation=0.2,
        trusted="auto",
        contamination="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.validation = validation
        self.trusted = trusted
        self.contamination = contamination
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Train on the given labels and judge them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, ...), dict, tuple or Dataset
            Memory maps, dicts, tuples and Datasets are read batch by batch.
        y : array-like of shape (n_samples,)
            Labels of any type. None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, in training and in the class model.
        groups : array-like of shape (n_samples,), optional
            Group of each row, for a splitter that keeps groups together, such as
            ``StratifiedGroupKFold(5)``. A warning if `validation` does not keep them together.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is wrong (the message names it), the estimator is a SAMNet, or it records
            no states of its training.

        Warns
        -----
        UserWarning
            If the features predict the held-out labels hardly better than class frequencies do
            (then no row is suspicious), or the network of one split alone; if the scores are
            expected to order less than two of three pairs of a wrong and a right label; if the data
            do not tell how many labels are wrong; if most rows of a class are suspicious; if the
            network predicts the same label for all validation rows; if rows of a ``ValidationData``
            are rows of `X` as well; or if the noise rate is estimated without features that no
            label has touched.
        """
        check_settings(self)
        check_trusted(self.trusted, self.validation)
        targets = _checked_targets(estimator_or_default(self.estimator))
        X, y, sample_weight, splits, estimators, _ = fit_data(
            self, X, y, sample_weight, targets, groups=groups
        )
        how = {
            "n_jobs": self.n_jobs,
            "verbose": self.verbose,
            "desc": "training and judging labels",
        }
        work, collect = _train_and_judge, self._collect
        if not isinstance(targets, ClassTargets):
            check_targets_vary(y)
            work, collect = train_and_predict, self._collect_targets
        found = over_splits(work, estimators, splits, X, y, sample_weight, **how)
        collect(X, y, sample_weight, found)
        return self

    def fit_predict(self, X, y=None, sample_weight=None, groups=None):
        """Fit, and return -1 for each suspicious row and 1 for the others.

        Parameters
        ----------
        X, y, sample_weight, groups : as for :meth:`fit`

        Returns
        -------
        ndarray of shape (n_samples,), dtype int
        """
        return np.where(self.fit(X, y, sample_weight, groups).suspicious_, -1, 1)

    def _on_page(self):
        check_is_fitted(self)
        return getattr(self, "_index", None), {
            "given": self.given_labels_,
            "suggested": self._suggested_on_page(),
            "scores": self.scores_,
            "suspicious": self.suspicious_,
            "probability_wrong": self.probability_wrong_,
            "score_components": self._signals_on_page(),
            "label_scores": getattr(self, "label_log_proba_", None),
            "classes": getattr(self, "classes_", None),
        }

    def _signals_on_page(self):
        """Components of the score by names that say what they are to a person who labels."""
        if not hasattr(self, "score_components_"):
            return None
        return self.score_components_.rename(columns=_SIGNALS)

    def _suggested_on_page(self):
        """Suggestions; for a regression those of suspicious rows only: all predictions differ."""
        found = self.suggested_labels_, self.given_labels_, self.suspicious_
        if hasattr(self, "classes_"):
            return page_suggestions(*found, self.label_log_proba_, self.classes_)
        return np.where(self.suspicious_, self.suggested_labels_, self.given_labels_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags = get_tags(estimator_or_default(self.estimator)).input_tags
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scores_")  # n_features_in_ is there even if fit fails

    @exclusive()
    def _collect(self, X, y, sample_weight, evidence):
        judge = LabelJudge(evidence, y, sample_weight, self.trusted)
        self.classes_, self.transition_ = judge.classes, judge.transition
        self.label_log_proba_ = judge.label_log_proba
        self.score_components_ = judge.components(getattr(X, "index", None))
        self._new_rows = judge.new_rows()
        self._keep(X, y, [each.trained.estimator for each in evidence], judge)
        judge.warn_of_scores()
        if self.contamination == "auto":
            judge.warn_of_count(self.contamination_, self.suspicious_)

    @exclusive()
    def _collect_targets(self, X, y, sample_weight, found):
        judge = TargetJudge(found, y, sample_weight)
        self._keep(X, y, [each.estimator for each in found], judge)

    def _keep(self, X, y, estimators, judge):
        """Set what there is for labels and for targets of a regression."""
        self.estimators_, self.estimator_ = estimators, estimators[0]
        self.given_labels_, self.suggested_labels_ = y.copy(), judge.suggestions
        self.scores_, self.probability_wrong_ = judge.scores, judge.probability_wrong
        self.contamination_interval_ = judge.interval
        self._cut(judge.has_skill, judge.none_wrong)
        quality = expected_quality(self.probability_wrong_, self.suspicious_)
        self.diagnostics_ = diagnostics_table(judge.diagnostics().assign(**quality))
        self._index = index = getattr(X, "index", None)
        about = self.given_labels_, self.suggested_labels_, self.probability_wrong_
        self.issues_ = issue_table(*about, self.scores_, self.suspicious_, index)

    def _cut(self, has_skill, none_wrong):
        """Set the share of wrong labels, and the rows to look at."""
        if self.contamination == "auto":
            wrong = self.probability_wrong_
            self.contamination_ = float(np.nanmean(wrong))
            self.suspicious_ = most_probable_f1(wrong, self.scores_, none_wrong) & has_skill
        else:
            self.contamination_ = float(self.contamination)
            self.suspicious_ = lowest(self.scores_, self.contamination_)


@exclusive()
def _train_and_judge(estimator, split, X, y, sample_weight, n_jobs):
    """Train `estimator` on a split's rows, unless it is frozen, and return a SplitEvidence."""
    data = X, y, sample_weight
    trained = train_split(estimator, split, *data, differentiated=False)
    warn_of_one_prediction(trained.predict(split.X), split.y, trained.problem)
    return SplitEvidence(trained)


def _checked_targets(estimator):
    targets = targets_of(estimator)
    if isinstance(targets, AnyTargets):
        raise ValueError(
            "estimator must be a classifier or a regressor, got a "
            f"{type(net_of(estimator)).__name__}: its rows do not have a single label each. Rank "
            "its rows with SAMInfluence."
        )
    return targets
