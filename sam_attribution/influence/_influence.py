"""SAMInfluence: which training rows help or hurt, as a scikit-learn estimator."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from sam_attribution._seeding import draw_seed
from sam_attribution._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_parameters,
    check_sample_weight,
    from_tensor,
    take_rows,
)
from sam_attribution.influence._aggregation import AGGREGATIONS
from sam_attribution.influence._availability import (
    LabelTransformer,
    knows_labels,
    scores_any_row,
)
from sam_attribution.influence._checks import (
    check_no_bare_rows,
    check_request,
    checked_training_rows,
    input_rules,
    unfitted,
    warn_if_never_resumed,
)
from sam_attribution.influence._diagnosis import Diagnosing, warn_of_doubt
from sam_attribution.influence._estimator import clones
from sam_attribution.influence._methods import resolved_method
from sam_attribution.influence._removal import (
    check_can_remove,
    checked_removal,
    edited_estimator,
)
from sam_attribution.influence._run_splits import mean_over_runs, run_splits
from sam_attribution.influence._splits import make_splits
from sam_attribution.influence._targets import targets_of
from sam_attribution.influence._tracing import Tracing
from sam_attribution.methods import Method
from sam_attribution.validation_data import ValidationData

_ONE_ROW_FORM = (
    "this method knows the batches of each row of fit, so scores_ and transform_train_ are exact "
    "for them; for any row, as here, it counts as if it had been in every batch with weight 1/n."
)
_LEARNED = (
    "classes_", "diagnostics_", "estimator_", "estimators_", "scores_",
    "_runs", "_seed", "_targets", "_transform_train", "_y",
)  # fmt: skip
_RUN_SETTINGS = ("evaluation", "aggregate", "parameters", "batch_size", "verbose")


class SAMInfluence(LabelTransformer, Diagnosing, Tracing, BaseEstimator):
    """Score training rows by what the validation loss would do without them.

    ``fit`` trains clones of a :class:`~sam_attribution.SAMClassifier` or
    :class:`~sam_attribution.SAMRegressor` and scores the rows they were trained on. The score
    of a row is the **predicted rise of the validation loss if the row is removed: positive =
    helpful, negative = harmful**.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator, default=None
        A net is cloned and trained; ``None`` is ``SAMClassifier()``. The earlier steps of a
        Pipeline that ends in one are fitted on the training rows and applied to every `X`, that
        of ``ValidationData`` included. ``sklearn.frozen.FrozenEstimator`` around a fitted one
        of all these uses it as it is: ``fit`` then wants the rows that it was trained on, and
        `validation` other rows.
    method : {"arnoldi", "cg", "datainf", "ekfac", "fixed-point", "further-training", "gif", \
            "grad-cos", "grad-dot", "hif", "hif-fast", "hif-paper", "if", \
            "integrated-unrolled", "lissa", "lissa-h", "loo", "relatif", "self-influence", \
            "tracin", "trak", "unrolled"} or Method, default="gif"
        A name stands for the object with its defaults; pass the object, for example
        ``HIF(damping=0.1)``, to set or search its parameters.
    validation : float, ValidationData or CV splitter, default=0.2
        What the model is judged by. A fraction is held out (stratified by class) and not
        scored (NaN). :class:`~sam_attribution.ValidationData` is a set of your own. A splitter
        such as ``StratifiedKFold(3)`` trains one clone per split and scores its training
        rows against its held-out rows, so that with folds every row is judged.
    evaluation : {"loss", "margin"} or callable, default="loss"
        Asked of each validation row: the training loss (nats; of a regressor squared units of
        y), the negative margin (logits; it does not saturate; not of a regressor), or
        ``(logits, y) -> values``, lower is better; a regressor gives its predictions, shape
        (n,), in the place of logits.
    aggregate : {"mean", "worst-class"}, default="mean"
        ``mean`` over the validation rows keeps the unit. ``worst-class`` takes the
        validation class that the row harms most, in units of the spread over rows: a
        ranking, made for finding wrong labels; a regressor has no classes.
    parameters : {"all", "head"}, str or list of str, default="all"
        Attribute all parameters, the last ``nn.Linear`` only (closed form, one forward
        pass per state), or those whose names match shell-style patterns.
    batch_size : int or "auto", default="auto"
        Rows per forward pass; scores do not depend on it. ``auto`` is a fixed rule of
        model, shapes and device.
    device : str, default=None
        Where clones are trained and rows scored. ``None`` keeps the estimator's.
    n_jobs : int, default=None
        Splits to work on at once, or shares of the rows if there is one split (for methods
        whose probes hold for all rows), in processes of their own: joblib's rules, so that
        ``joblib.parallel_config(backend="dask")`` sends them to a cluster. Scores are the
        same bits for every `n_jobs`. For that each process takes as many torch threads as
        this one: ``torch.set_num_threads(1)`` gives each split one core.
    random_state : int, RandomState instance or None, default=None
        Draws the split and goes to clones that have no ``random_state`` of their own.
    verbose : int, default=0
        Above 0 shows a progress bar over the splits, and one over the queries of ``attribute``,
        above 1 also one over the probes of
        each split, for every pass over rows; for ``method="unrolled"``, where that takes as
        long as training, above 0 too.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Aligned with the rows given to ``fit``; the mean over the splits that trained on the
        row, NaN for rows that none did.
    transform_train_ : ndarray of shape (n_samples, n_classes)
        Scores that the rows of ``fit`` would have with each label; column c of a row that
        carries label c is its score. Not there for methods that retrain, and for regressors.
    standard_errors_ : ndarray of shape (n_samples,)
        Of ``scores_``, for methods that retrain from more than one seed (``LeaveOneOut``,
        ``FurtherTraining``), with one split and the mean as aggregate; not there otherwise.
    estimator_ : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        The fitted clone of the first split; a frozen estimator itself. Where scoring fails, or
        is interrupted, after training it is there all the same, for a FrozenEstimator.
    estimators_ : list
        The fitted clones of all splits.
    diagnostics_ : DataFrame
        One row per split, in numbers: what to expect of the scale, damping, solver residual,
        steps, how well the validation rows are predicted, seconds, peak memory, and what
        :meth:`diagnose` found, which also says what they mean.
    classes_ : ndarray of shape (n_classes,)
        Of a classifier.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If ``X`` has such names.

    See Also
    --------
    FilteredClassifier : Drops the lowest-scored rows and trains again.

    Notes
    -----
    ``score_samples`` and ``transform`` are functions of one row: its score as if it had
    been in every batch with weight 1/n. On training rows they equal ``scores_`` and
    ``transform_train_``, but for sample weights (a row that is asked about has weight 1)
    and for ``GIF(n_checkpoints=None)`` and ``Unrolled``, which know each row's own batches.
    Cost beyond the training: see the method; about 2.5 forward passes over the rows per visited
    state and query.

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
            ValidationData,
            HasMethods(["split", "get_n_splits"]),
        ],
        "evaluation": [StrOptions({"loss", "margin"}), callable],
        "aggregate": [StrOptions(set(AGGREGATIONS))],
        "parameters": [str, "array-like"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "device": [None, str],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        method="gif",
        validation=0.2,
        evaluation="loss",
        aggregate="mean",
        parameters="all",
        batch_size="auto",
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
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Train on every split and score the rows trained on.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, ...)
        y : array-like of shape (n_samples,)
            Labels of any type; for a regressor real numbers.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows in training; a row's score is that of its
            weighted share.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For bad parameters or data, naming the argument.
        """
        check_no_bare_rows(self.validation)
        check_parameters(self)
        check_request(unfitted(self.estimator), self.validation, self.device)
        method = resolved_method(self.method)
        targets = targets_of(unfitted(self.estimator))
        targets.check_question(self.evaluation, self.aggregate)
        warn_if_never_resumed(method, unfitted(self.estimator), self.validation, self.random_state)
        self._forget()
        X, y = checked_training_rows(self, X, y, targets)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        method.check_request(len(y))
        seed = self._seed = draw_seed(self.random_state)
        splits = make_splits(self.validation, X, y, targets, seed)
        estimators = list(clones(unfitted(self.estimator), len(splits), seed, self.device))
        self.estimator_ = estimators[0]  # trained in place: not lost if its scoring fails
        arguments = (
            self._arguments(estimator, split, X, y, sample_weight, method)
            for estimator, split in zip(estimators, splits, strict=True)
        )
        self._runs = run_splits(arguments, len(splits), n_jobs=self.n_jobs, verbose=self.verbose)
        self._collect(y, targets)
        warn_of_doubt(self.diagnostics_)
        return self

    @property
    def transform_train_(self):
        knows_labels(self)
        return self._transform_train

    @property
    def standard_errors_(self):
        check_is_fitted(self)
        errors = self._runs[0].attribution.standard_errors
        if errors is None or len(self._runs) > 1:
            raise AttributeError(
                "standard errors are known where one split is trained from several seeds, as by "
                'method=LeaveOneOut(n_seeds=5), and aggregate="mean".'
            )
        return mean_over_runs(self._runs, [_to_numpy(errors[:, 0])], len(self._y))

    @available_if(scores_any_row)
    def score_samples(self, X, y=None):
        """Score rows as if each had been in training, in every batch with weight 1/n.

        Parameters
        ----------
        X : array-like of shape (n, ...)
        y : array-like of shape (n,), optional
            Labels they would have carried; by default what the model predicts. A regressor
            needs them.

        Returns
        -------
        ndarray of shape (n,)
            Positive = would help. The mean over the splits.
        """
        X = self._checked_rows(X)
        y = self._targets.predicted(self._runs, X) if y is None else y
        return self._row_scores(X, y)

    def transform(self, X):
        """Scores that rows would have in training with each label.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_classes)
            Columns in the order of ``classes_``. The mean over the splits.
        """
        return self._row_scores(self._checked_rows(X))

    def attribute(self, X_query, y_query, *, split=None, how="auto"):
        """Score every training row against single queries.

        Parameters
        ----------
        X_query : array-like of shape (n_query, ...)
        y_query : array-like of shape (n_query,)
        split : int, optional
            Which split's model is asked; needed if there are several.
        how : {"auto", "tangents", "row-gradients"} or Projected, default="auto"
            ``tangents`` goes forward through the model once per query, ``row-gradients`` forms
            the gradient of every training row and multiplies: the same scores, and ``auto``
            takes what :func:`~sam_attribution.probes.pass_costs` says is less work.
            :class:`~sam_attribution.influence.Projected` is an approximation, for rows that are
            asked about again and again.

        Returns
        -------
        ndarray of shape (n_query, n_samples)
            Columns aligned with the rows given to ``fit``, NaN where not trained on. With
            ``aggregate="mean"`` its mean over the validation rows is ``scores_`` (not for
            Grad-Cos, a ratio).

        Raises
        ------
        ValueError
            If there are several splits and `split` names none of them, or for another `how`.

        Notes
        -----
        Queries are asked as many at once as 512 MiB of their gradients allow; beyond that and
        the table itself, memory does not grow with their number. ``verbose=1`` shows how far it
        is, and by which way.
        """
        X = self._checked_rows(X_query)
        self._targets.check(y_query, "y_query")
        check_consistent_length(X, y_query)
        run = self._runs[self._checked_split(split)]
        result = np.full((len(y_query), len(self.scores_)), np.nan)
        done, trained = 0, run.train[run.visited]
        for part in run.attribution.attribute(*run.tensors(X, y_query), how):
            result[done : done + len(part), trained] = _to_numpy(part)[:, run.visited]
            done += len(part)
        return result

    def remove(self, indices, *, split=None, verify=0):
        """The model as if some training rows had never been there, without training it again.

        The method predicts where the weights would have come out, to first order in the rows'
        weights: ``unrolled`` by the derivative of the whole training, HIF by a linear solve, GIF
        and TracIn by the sum of the rows' gradients along it.

        Parameters
        ----------
        indices : array-like of int, or of bool with shape (n_samples,)
            Positions in the rows given to ``fit``.
        split : int, optional
            Which split's model is edited; needed if there are several.
        verify : int, default=0
            Number of random groups, each of as many rows as are removed, without which the model
            is trained again to compare: one training for each, and one more.

        Returns
        -------
        SAMClassifier or Pipeline
            A fitted copy with edited weights (with unrolled also edited batch-norm statistics),
            its optimizer as new. Its training is not recorded: it cannot be attributed itself.
            The classifier (the last step of a Pipeline) has ``edit_``, a Series: `n_removed`;
            `step_length`, relative to the weights; `bend`, see below; `value`, the mean validation
            evaluation before the edit; `predicted_rise` of it, the sum of the rows' scores (NaN
            with ``aggregate="worst-class"``), and its actual `rise`. With `verify` it has
            ``verification_``, a DataFrame with a row for each random group: `cosine` between
            edited and retrained change of the attributed parameters, `length_ratio` of the first
            to the second, and `rise` and `accuracy` on the validation rows, each of the edited
            and of the retrained model.

        Raises
        ------
        ValueError
            If the method predicts no weights; if `indices` are empty, out of range, repeated, not
            trained on, all rows or all rows of a class; or as :meth:`attribute`.
        TypeError
            If `indices` are neither integers nor booleans.

        Warns
        -----
        UserWarning
            If ``edit_["bend"]`` is above .5, or ``|rise - predicted_rise|`` above
            ``|predicted_rise| / 2 + |value| / 10``. The bend compares half of the step with all of
            it on the outputs z for up to 128 validation rows, ``2 ||z(1) - 2 z(1/2) + z(0)|| /
            ||z(1) - z(0)||``: 0 on a straight line. Both test the model along the step; whether
            training is linear in the rows' weights only training again can tell, which `verify`
            does.

        Notes
        -----
        Cost, for r removed of n rows: GIF and TracIn one gradient of the r rows per visited state
        (of every step: one training); HIF one such gradient (full: two, and a product with the
        Hessian) and a solve; unrolled about 2.5 trainings. And a forward pass over the validation
        rows.

        References
        ----------
        arXiv:2507.04059; for unrolled see Hara et al., arXiv:1906.08473.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence
        >>> X, y = load_iris(return_X_y=True)
        >>> influence = SAMInfluence(SAMClassifier(max_epochs=5), random_state=0).fit(X, y)
        >>> worst = np.argsort(influence.scores_)[:2]  # NaN, not trained on, comes last
        >>> edited = influence.remove(worst)
        >>> edited.predict(X).shape, int(edited.edit_["n_removed"])
        ((150,), 2)
        """
        check_is_fitted(self)
        number = self._checked_split(split)
        run = self._runs[number]
        check_can_remove(run.attribution.prepared, self.method)
        classify = run.attribution.problem.n_classes is not None
        rows = checked_removal(indices, run, self._y, classify)
        return edited_estimator(run, rows, verify=_checked_count(verify), seed=self._seed)

    def self_influence(self):
        """How much each training row worked on its own loss.

        Returns
        -------
        ndarray of shape (n_samples,)
            The score of each row on its own training loss: large and positive = memorised, and
            so suspicious. Aligned with the rows given to ``fit``; the mean over the splits that
            trained on the row, NaN where none did. Costs about as much as ``attribute`` for
            16 queries, and a solve per row for methods that solve.
        """
        check_is_fitted(self)
        found = [_to_numpy(run.attribution.self_influence()) for run in self._runs]
        return mean_over_runs(self._runs, found, len(self._y))

    @available_if(knows_labels)
    def suggest_labels(self, X=None):
        """The label with which each row would help most.

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
            return self.classes_[self._row_scores(self._checked_rows(X)).argmax(1)]
        judged = ~np.isnan(self.scores_)
        suggested = self._y.copy()
        suggested[judged] = self.classes_[self.transform_train_[judged].argmax(1)]
        return suggested

    @available_if(knows_labels)
    def get_feature_names_out(self, input_features=None):
        """Names of the columns of ``transform``: ``saminfluence_<label>``."""
        check_is_fitted(self)
        return np.array([f"saminfluence_{label}" for label in self.classes_], dtype=object)

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
        tags.input_tags = get_tags(unfitted(self.estimator)).input_tags
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scores_")  # estimator_ is there earlier

    def _forget(self):
        """Leave nothing of an earlier fit, which would answer if this one fails."""
        for name in _LEARNED:
            vars(self).pop(name, None)

    def _checked_rows(self, X):
        check_is_fitted(self)
        X = from_tensor(X, "X")
        checked = validate_data(self, X, reset=False, **input_rules(unfitted(self.estimator), X))
        return X if hasattr(X, "iloc") else checked

    def _row_scores(self, X, y=None):
        """Mean over the splits, for every label without `y`."""
        found = [run.attribution.row_scores(*run.tensors(X, y)) for run in self._runs]
        if not self._runs[0].attribution.prepared.rows_are_exchangeable:
            warnings.warn(_ONE_ROW_FORM, stacklevel=3)
        return np.mean([_to_numpy(scores) for scores in found], axis=0)

    def _checked_split(self, split):
        if split is None and len(self._runs) == 1:
            return 0
        if isinstance(split, Integral) and split in range(len(self._runs)):
            return split
        raise ValueError(
            f"split must be one of 0..{len(self._runs) - 1} as this was fitted on "
            f"{len(self._runs)} splits, got {split!r}."
        )

    def _arguments(self, estimator, split, X, y, sample_weight, method):
        """What the run of a split is made from."""
        return {
            "estimator": estimator,
            "rows": split.train,
            "X": take_rows(X, split.train),
            "y": y[split.train],
            "sample_weight": None if sample_weight is None else sample_weight[split.train],
            "n_given": len(y),
            "validation": (split.X, split.y),
            "method": method,
            "settings": {name: getattr(self, name) for name in _RUN_SETTINGS},
        }

    def _collect(self, y, targets):
        """Bring what the runs found into the attributes that users read."""
        self._y, self._targets = y, targets
        if targets.classes is not None:
            self.classes_ = targets.classes = self._runs[0].net.classes_  # some without a row
        self.estimators_ = [run.estimator for run in self._runs]
        self.estimator_ = self.estimators_[0]
        self.diagnostics_ = self._table_of_diagnostics()
        scores = [_to_numpy(run.attribution.scores) for run in self._runs]
        self.scores_ = mean_over_runs(self._runs, scores, len(y))
        if self._runs[0].attribution.table is not None:
            tables = [_to_numpy(run.attribution.table) for run in self._runs]
            self._transform_train = mean_over_runs(self._runs, tables, len(y))


def _checked_count(verify):
    if isinstance(verify, bool) or not isinstance(verify, Integral) or verify < 0:
        raise ValueError(f"verify must be a number of groups, 0 or more, got {verify!r}.")
    return int(verify)


def _to_numpy(tensor):
    return tensor.detach().cpu().numpy().astype(np.float64)
