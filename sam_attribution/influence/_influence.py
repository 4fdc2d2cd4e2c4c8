"""SAMInfluence: scores of the training rows, as a scikit-learn estimator."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution._printing import Printed
from sam_attribution._row_order import check_order
from sam_attribution._rows import with_own_targets
from sam_attribution._seeding import seed_nested
from sam_attribution._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_arguments,
    take_rows,
)
from sam_attribution.fitting import (
    check_settings,
    check_some_target,
    checked_rows,
    estimator_or_default,
    fit_data,
    mean_over_splits,
    over_splits,
    targets_of,
)
from sam_attribution.influence._aggregation import AGGREGATIONS
from sam_attribution.influence._attribution import check_asked, train_and_attribute
from sam_attribution.influence._diagnosis import (
    Diagnosing,
    warn_of_doubt,
    warn_of_left_out,
    warn_of_several_methods,
)
from sam_attribution.influence._editing import Editing
from sam_attribution.influence._label_scores import LabelScores, by_class, to_numpy
from sam_attribution.influence._methods import (
    resolved_method,
    showing_progress,
    warn_if_never_resumed,
)
from sam_attribution.influence._per_token import TokenQueries
from sam_attribution.influence._refinement import check_refinement
from sam_attribution.influence._tracing import Tracing
from sam_attribution.methods import Method, Projected
from sam_attribution.validation_data import ValidationData

_RULES = {"per": [None, StrOptions({"token"})]}
_SETTINGS = (
    *("evaluation", "aggregate", "parameters", "batch_size", "verbose"),
    *("refine", "calibrate"),
)


class SAMInfluence(Printed, LabelScores, Diagnosing, Tracing, Editing, BaseEstimator):
    """Score training rows by the rise of the validation loss without them.

    ``fit`` trains clones of a :class:`~sam_attribution.SAMClassifier`,
    :class:`~sam_attribution.SAMRegressor` or :class:`~sam_attribution.SAMNet` and scores the rows
    they were trained on. The score of a row is the **predicted rise of the validation loss if the
    row is removed: positive = helpful, negative = harmful**.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, SAMNet, Pipeline or FrozenEstimator, default=None
        A net is cloned and trained; ``None`` stands for ``SAMClassifier()``, or for the estimator
        of the :class:`~sam_attribution.FilteredClassifier` that this one scores for. The earlier
        steps of a Pipeline are fitted on the training rows and applied to every `X`, that of
        ``ValidationData`` included. A fitted net or Pipeline in a
        ``sklearn.frozen.FrozenEstimator`` is not trained again: ``fit`` then needs the rows that it
        was trained on, and `validation` other rows. A net of ``SAMClassifier.from_module`` counts
        as frozen.
    method : {"arnoldi", "auto", "cg", "datainf", "ekfac", "fixed-point", "further-training", \
            "gif", "grad-cos", "grad-dot", "hif", "hif-fast", "hif-paper", "if", \
            "integrated-unrolled", "lissa", "lissa-h", "loo", "relatif", "self-influence", \
            "tracin", "trak", "unrolled", "unrolled-segments"} or Method, default="auto"
        ``auto`` takes ``unrolled`` where the training was recorded and has a derivative, otherwise
        ``hif-fast`` (``gif`` if the model has no second derivative), with a warning.
        A name stands for the object with its defaults; pass the object, for example
        ``HIF(damping=0.1)``, to set or search its parameters.
    validation : float, int, ValidationData or CV splitter, default=0.2
        Validation rows, whose loss the scores predict. A fraction is held out (stratified by class)
        and not scored (NaN). :class:`~sam_attribution.ValidationData` is a set of your own. An
        integer is a number of shuffled folds (stratified by class), drawn by `random_state`. Folds
        and other splitters train one clone per split and score its training rows against its
        held-out rows, so that with folds every row gets a score.
    evaluation : {"loss", "margin"} or callable, default="loss"
        Value of each validation row: the training loss (nats; squared units of y for a regressor),
        the negative margin (logits; it does not saturate; classifiers only), or a function
        ``(logits, y) -> values``, lower is better; instead of logits it gets the predictions of a
        regressor, shape (n,), or the module's output of a SAMNet.
    aggregate : {"mean", "worst-class"}, default="mean"
        ``mean`` over the validation rows keeps the unit. ``worst-class`` takes the
        validation class that the row harms most, in units of the spread over rows: a
        ranking, made for finding wrong labels; a regressor has no classes.
    parameters : {"all", "head"}, str or list of str, default="all"
        Attribute all parameters, the last ``nn.Linear`` only (closed form, one forward
        pass per state), or those whose names match shell-style patterns. A pattern after "!"
        leaves out what it matches, of the others or of all: ``["encoder.*", "!*norm*"]``.
    batch_size : int or "auto", default="auto"
        Rows per forward pass; scores do not depend on it. ``auto`` is a fixed rule of
        model, shapes and device.
    refine : int, default=0
        Number of rows of each split whose scores are measured by training again without each of
        them: half of them with the largest absolute scores, the others with the largest influence
        on their own loss, see :meth:`diagnose`. At least 4, ``aggregate="mean"`` and a recorded
        training; a training for each row (in one stack where models are small). Methods other than
        ``unrolled`` need `calibrate`, because their scores have another size. With folds a row gets
        the mean of its effects and of its scores in splits that did not choose it.
        ``score_samples``, ``transform`` and ``attribute`` return the method's own scores.
    calibrate : bool, default=False
        Multiply the scores of the other rows by the slope that fits the effects of the rows of
        `refine` best.
    device : str, default=None
        Device on which clones are trained and rows scored. ``None`` keeps the estimator's.
    n_jobs : int, default=None
        Splits to work on at once, or shares of the rows if there is one split (for methods
        whose probes hold for all rows), in processes of their own: joblib's rules, so that
        ``joblib.parallel_config(backend="dask")`` sends them to a cluster. Scores are the
        same bits for every `n_jobs`. For that each process takes as many torch threads as
        this one: ``torch.set_num_threads(1)`` gives each split one core.
    random_state : int, RandomState instance or None, default=None
        Draws the split. Every ``random_state`` inside the clones and the method that is None gets
        the seed as well.
    verbose : int, default=0
        Above 0 shows a progress bar: over the splits, or over the steps (or the models that are
        trained again) of a single split, and over the queries of ``attribute``. Above 1 shows the
        steps of each split as well. The `verbose` of the estimator shows the epochs of training.
        Above 1 shows one over the probes of each split as well; ``method="unrolled"``, whose
        probes take as long as training, shows it above 0 too.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Scores of the rows given to ``fit``: means over the splits that trained on the row, NaN
        where none did.
    transform_train_ : ndarray of shape (n_samples, n_classes)
        Scores that the rows of ``fit`` would have with each label; column c of a row that
        carries label c is its score. Methods that retrain, regressors and SAMNets have none.
    standard_errors_ : ndarray of shape (n_samples,)
        Standard errors of ``scores_``. They exist for methods that retrain from more than one
        seed (``LeaveOneOut``, ``FurtherTraining``), with one split and the mean as aggregate.
    estimator_ : SAMClassifier, SAMRegressor, SAMNet, Pipeline or FrozenEstimator
        The fitted clone of the first split; a frozen estimator itself. It exists even if scoring
        fails or is interrupted after training: put it into a FrozenEstimator to continue from
        there.
    estimators_ : list
        The fitted clones of all splits.
    attributions_ : list of Attribution
        One per split, for further computations: ``trained`` (estimator, split, problem),
        ``prepared`` (the method, prepared for the problem) and the scores as tensors.
    diagnostics_ : DataFrame
        One row per split: meaning of the scale, damping, solver residual, steps, quality of the
        predictions for the validation rows, seconds, peak memory of scoring (MiB above that
        before), and the numbers that :meth:`diagnose` found and explains.
    classes_ : ndarray of shape (n_classes,)
        Labels; a regressor and a SAMNet have none.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If ``X`` has such names.

    See Also
    --------
    FilteredClassifier : Drops the lowest-scored rows and trains again.

    Notes
    -----
    ``score_samples`` and ``transform`` score a row as if it had been in every batch with weight
    1/n. On training rows they equal ``scores_`` and ``transform_train_``, but not with sample
    weights (a new row has weight 1), with `refine`, or by methods that know each row's own batches:
    the default, ``Unrolled`` and ``GIF(n_checkpoints=None)``. The cost beyond training depends on
    the method: about 2.5 forward passes over the rows per visited state and query.

    References
    ----------
    Attributing Data for Sharpness-Aware Minimization, arXiv:2507.04059.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution import SAMClassifier, SAMInfluence
    >>> X, y = load_iris(return_X_y=True)
    >>> influence = SAMInfluence(SAMClassifier(max_epochs=5), random_state=0).fit(X, y)
    >>> influence.scores_.shape, int(np.isnan(influence.scores_).sum())
    ((150,), 30)
    >>> influence.transform(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints = {
        "estimator": [None, HasMethods("fit")],
        "method": [str, Method],
        "validation": [
            Interval(Real, 0, 1, closed="neither"),
            Interval(Integral, 2, None, closed="left"),
            ValidationData,
            HasMethods(["split", "get_n_splits"]),
        ],
        "evaluation": [StrOptions({"loss", "margin"}), callable],
        "aggregate": [StrOptions(set(AGGREGATIONS))],
        "parameters": [str, "array-like"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "refine": [Interval(Integral, 0, None, closed="left")],
        "calibrate": ["boolean"],
        "device": [None, str],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        method="auto",
        validation=0.2,
        evaluation="loss",
        aggregate="mean",
        parameters="all",
        batch_size="auto",
        refine=0,
        calibrate=False,
        device=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.method = method
        self.validation = validation
        self.evaluation = evaluation
        self.aggregate = aggregate
        self.parameters = parameters
        self.batch_size = batch_size
        self.refine = refine
        self.calibrate = calibrate
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None, sample_weight=None, groups=None):
        """Train on every split and score the rows trained on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, ...), dict, tuple or Dataset
            A dict of arrays goes to ``forward`` by names. Memory maps, dicts, tuples and Datasets
            are read batch by batch.
        y : array-like of shape (n_samples,), for a SAMNet (n_samples, ...)
            Labels of any type; for a regressor real numbers. None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows in training; a row's score is that of its
            weighted share.
        groups : array-like of shape (n_samples,), optional
            Group of each row, for a splitter that keeps groups together, such as
            ``StratifiedGroupKFold(5)``. A warning if `validation` does not keep them together.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument is wrong; the message names it.
        """
        check_settings(self, self.device)
        estimator, method = estimator_or_default(self.estimator), resolved_method(self.method)
        targets = targets_of(estimator)
        targets.check_question(self.evaluation, self.aggregate)
        check_asked(method, self.evaluation, self.aggregate)
        check_refinement(self, method)
        warn_if_never_resumed(method, estimator, self.validation, self.random_state)
        *data, splits, estimators, seed = fit_data(
            self, X, y, sample_weight, targets, groups=groups, device=self.device
        )
        check_order(X=X, groups=getattr(method, "groups", None))
        method.check_request(len(data[1]))
        method = seed_nested(method, seed)
        self.estimator_ = estimators[0]  # trained in place: not lost if its scoring fails
        self._seed = seed
        settings = {name: getattr(self, name) for name in _SETTINGS}
        several = len(splits) > 1
        method = method if several else showing_progress(method, self.verbose)
        work = partial(train_and_attribute, method=method, is_part=several, **settings)
        shown = self.verbose if several else 0  # the work on a single split has a bar of its own
        how = {"n_jobs": self.n_jobs, "verbose": shown, "desc": "training and scoring"}
        self.attributions_ = over_splits(work, estimators, splits, *data, **how)
        self._index = getattr(data[0], "index", None)  # a list has an attribute of that name
        self._collect(data[1], targets)
        warn_of_left_out(self.diagnostics_)
        warn_of_several_methods(self.diagnostics_)
        warn_of_doubt(self.diagnostics_, self.attributions_)
        return self

    @property
    def standard_errors_(self):
        check_is_fitted(self)
        errors = self.attributions_[0].standard_errors
        if errors is None or len(self.attributions_) > 1:
            raise AttributeError(
                "standard_errors_ needs several seeds, as in method=LeaveOneOut(n_seeds=5), a "
                'single split and aggregate="mean".'
            )
        return self._mean_over_splits([errors[:, 0]])

    def attribute(self, X_query, y_query=None, *, split=None, how="auto", per=None):
        """Score every training row against single queries.

        Parameters
        ----------
        X_query : array-like of shape (n_query, ...), or rows such as those of ``fit``
        y_query : array-like of shape (n_query,)
            None takes the labels of a Dataset.
        split : int, optional
            Split whose model is used; needed if there are several.
        how : {"auto", "tangents", "row-gradients"} or Projected, default="auto"
            ``tangents`` takes one forward-mode pass per query, ``row-gradients`` computes the
            gradient of every training row. Both give the same scores, and ``auto`` takes the
            cheaper one by :func:`~sam_attribution.probes.pass_costs`.
            :class:`~sam_attribution.methods.Projected` is an approximation for many calls on the
            same rows.
        per : {None, "token"}, default=None
            ``"token"`` scores against every token of a query alone, as if the others were ignored:
            for a SAMNet with ``CrossEntropyLoss`` and a class for every token (or pixel).

        Returns
        -------
        ndarray of shape (n_query, n_samples), or (n_query, n_tokens, n_samples) per token
            Columns aligned with the rows given to ``fit``, NaN where not trained on, or where a
            token is ignored. With
            ``aggregate="mean"`` its mean over the validation rows is ``scores_`` if the method is
            linear in the queries (Grad-Cos, a ratio, is not).

        Raises
        ------
        ValueError
            If there are several splits and `split` names none of them, for another `how`, or if
            there are no tokens to ask about.

        Notes
        -----
        Queries are processed in parts whose gradients take 512 MiB. Beyond that and the table,
        memory does not grow with their number. ``verbose=1`` shows a progress bar.
        """
        check_is_fitted(self)
        check_order(X_query=X_query, y_query=y_query)
        X_query, y_query = with_own_targets(X_query, y_query)
        X = checked_rows(self, X_query)
        self._targets.check(y_query, "y_query")
        check_consistent_length(X, y_query)
        attribution = self._attribution_of(split)
        check_arguments(_RULES, "attribute", per=per)
        if per == "token":
            asked = TokenQueries(attribution.trained.net.criterion_, self._targets.given(y_query))
            X = take_rows(X, asked.rows)
            return asked.arranged(self.attribute(X, asked.y, split=split, how=how))
        how = seed_nested(clone(how), self._seed) if isinstance(how, Projected) else how
        trained = attribution.trained
        if trained.problem.n_classes is None:
            check_some_target(trained.net.criterion_, self._targets.given(y_query), "y_query")
        result, done = np.full((len(y_query), len(self.scores_)), np.nan), 0
        for part in attribution.attribute(*trained.tensors(X, y_query), how):
            at = slice(done, done + len(part))
            result[at, trained.trained_rows] = to_numpy(part)[:, trained.visited]
            done += len(part)
        return result

    def self_influence(self):
        """Scores of the training rows on their own losses.

        Returns
        -------
        ndarray of shape (n_samples,)
            The score of each row on its own training loss: large and positive = memorised, and
            so suspicious. Aligned with the rows given to ``fit``; the mean over the splits that
            trained on the row, NaN where none did. Costs about as much as ``attribute`` for
            16 queries, and a solve per row for methods that solve.
        """
        check_is_fitted(self)
        return self._mean_over_splits([each.self_influence() for each in self.attributions_])

    def set_params(self, **params):
        """Set parameters, those of a method object as ``method__<name>``."""
        method = params.get("method", self.method)
        nested = {k.removeprefix("method__"): v for k, v in params.items() if "method__" in k}
        if nested and isinstance(method, str):
            meant = resolved_method(method).set_params(**nested)
            raise ValueError(
                f"method={method!r} is a name and has no parameters. Pass the object that it "
                f"stands for: method={meant!r}."
            )
        return super().set_params(**params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags = get_tags(estimator_or_default(self.estimator)).input_tags
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scores_")  # estimator_ is there earlier

    def _attribution_of(self, split):
        """The attribution of a split; `split` may be None if there is one."""
        n_splits = len(self.attributions_)
        if split is None and n_splits == 1:
            return self.attributions_[0]
        if isinstance(split, Integral) and split in range(n_splits):
            return self.attributions_[split]
        raise ValueError(
            f"split must be one of 0..{n_splits - 1} as this was fitted on {n_splits} splits, got "
            f"{split!r}."
        )

    def _collect(self, y, targets):
        """Bring what was found for the splits into the attributes that users read."""
        found = self.attributions_
        self._y, self._targets = y, targets
        if targets.classes is not None:
            self.classes_ = targets.classes = found[0].trained.net.classes_  # some without a row
        self.estimators_ = [each.trained.estimator for each in found]
        self.estimator_ = self.estimators_[0]
        self.diagnostics_ = self._table_of_diagnostics()
        self.scores_ = self._mean_over_splits([each.scores for each in found])
        tables = [each.table for each in found]
        if tables[0] is None:
            self._transform_train = None
        else:
            self._transform_train = by_class(self._mean_over_splits(tables), found)

    def _mean_over_splits(self, found):
        """Mean over the splits of tensors with a value per row of each split's problem."""
        splits = [each.trained for each in self.attributions_]
        values = [to_numpy(tensor)[s.visited] for tensor, s in zip(found, splits, strict=True)]
        return mean_over_splits([s.trained_rows for s in splits], values, len(self._y))
