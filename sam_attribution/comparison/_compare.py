"""Several methods on the same trained model, as a table."""

from functools import partial

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from tqdm.auto import tqdm

from sam_attribution._row_order import check_order, check_results
from sam_attribution._rows import with_own_targets
from sam_attribution._seeding import draw_seed, seed_nested
from sam_attribution._tables import ShownTable
from sam_attribution._validation import check_column, check_given, check_mask
from sam_attribution._warnings import warn
from sam_attribution.fitting import Measure, frozen_where_adopted, is_frozen, net_of
from sam_attribution.influence import METHODS, SAMInfluence
from sam_attribution.metrics import agreement, detection
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData


def compare(
    methods,
    estimator,
    X,
    y,
    *,
    validation,
    truth=None,
    wrong=None,
    sample_weight=None,
    evaluation="loss",
    batch_size="auto",
    random_state=None,
    verbose=0,
    return_scores=False,
):
    """Score the rows of one training by several methods.

    Parameters
    ----------
    methods : list of str or Method, or dict of str to these
        Names as :class:`~sam_attribution.SAMInfluence` has them, or objects with settings.
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        Cloned and trained once, for all methods; what is frozen, or made by ``from_module``, is
        taken as it is.
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,)
    validation : ValidationData
        Validation rows, other than `X`.
    truth : str, Method or array-like of shape (n_samples,), optional
        Effects of removal: known numbers, or a method that measures them by retraining, such as
        ``"loo"`` or ``LeaveOneOut(rows=[...])``. NaN for rows that were not tried.
    wrong : array-like of bool, shape (n_samples,), optional
        Rows known to have a wrong label.
    sample_weight : array-like of shape (n_samples,), optional
    evaluation : {"loss", "margin"} or callable, default="loss"
    batch_size : int or "auto", default="auto"
    random_state : int, RandomState instance or None, default=None
        Goes to the training, and to methods that draw.
    verbose : int, default=0
        Above 0 shows a progress bar over the training, the methods and the truth.
    return_scores : bool, default=False
        Return the scores as well.

    Returns
    -------
    table : DataFrame
        A line for each method. With `truth`: `pearson`, `slope`, `spearman`, `cosine`, `n`, see
        :func:`~sam_attribution.metrics.agreement`. With `wrong`: `auc`, the chance that a wrong row
        has the lower score of a random pair. `seconds` of scoring; `trainings`, the same as a
        multiple of one training (NaN if the estimator is frozen); `peak_memory_mib` of scoring,
        above what was there before (NaN where the system does not tell). All NaN for a method that
        failed.
    scores : DataFrame of shape (n_samples, n_methods)
        With `return_scores`; with `truth` that is the last column.

    Raises
    ------
    ValueError
        For names that are not known or not unique, columns that do not fit `y`, or as training
        does; if `truth` or all methods fail, as they do.
    TypeError
        If `validation` is no ValidationData, or a method is neither a name nor a Method.

    Warns
    -----
    FitFailedWarning
        For each method that failed, with its error: the others are not lost with it.

    Notes
    -----
    Cost: one training, and what the methods and the truth take. Times are of the wall clock, so
    compare on a machine that does nothing else; torch and skorch are called once before, on a
    handful of rows, so that no method pays for their first call.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sam_attribution import SAMClassifier, ValidationData
    >>> from sam_attribution.comparison import compare
    >>> X, X_val, y, y_val = train_test_split(
    ...     *load_iris(return_X_y=True), random_state=0
    ... )
    >>> table = compare(
    ...     ["gif", "tracin"],
    ...     SAMClassifier(max_epochs=5),
    ...     X,
    ...     y,
    ...     validation=ValidationData(X_val, y_val),
    ...     random_state=0,
    ... )
    >>> list(table.columns)
    ['seconds', 'trainings', 'peak_memory_mib']
    """
    methods, estimator = _by_name(methods), frozen_where_adopted(estimator)
    _check_validation(validation)
    check_order(X=X, y=y, sample_weight=sample_weight, wrong=wrong)
    check_results({"X": X}, truth=truth)
    X, y = with_own_targets(X, y, verbose=verbose)
    check_given(y)
    truth = _checked_truth(truth, len(y))
    wrong = None if wrong is None else check_mask(wrong, "wrong", len(y))
    seed = draw_seed(random_state)
    _call_once(net_of(estimator).device)
    settings = {"validation": validation, "evaluation": evaluation, "batch_size": batch_size}
    with tqdm(total=1 + len(methods), desc="training", unit="step", disable=not verbose) as bar:
        model, seconds = _trained(estimator, X, y, sample_weight, seed)
        bar.update()
        scored = partial(_scored, model, (X, y, sample_weight), random_state=seed, **settings)
        found = _scored_by_all(methods, scored, bar)
    if not (truth is None or isinstance(truth, np.ndarray)):
        truth = scored(truth, verbose=verbose)[0]
    lines = {
        name: _figures(scores, truth, wrong)
        | {"seconds": taken, "trainings": taken / seconds, "peak_memory_mib": mib}
        for name, (scores, taken, mib) in found.items()
    }
    table = pd.DataFrame.from_dict(lines, orient="index").reindex(methods).rename_axis("method")
    table = ShownTable(table)
    if not return_scores:
        return table
    columns = {name: found[name][0] if name in found else np.nan for name in methods}
    columns = pd.DataFrame(columns, index=range(len(y)))
    return table, columns if truth is None else columns.assign(truth=truth)


def _by_name(methods):
    if isinstance(methods, str) or len(methods) == 0:
        raise ValueError(
            f'methods must be a list of at least one method, such as ["gif"], got {methods!r}.'
        )
    if not isinstance(methods, dict):
        names = [method if isinstance(method, str) else repr(method) for method in methods]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"methods must differ, got {sorted(repeated)} more than once.")
        methods = dict(zip(names, methods, strict=True))
    for method in methods.values():
        _check_method(method, "methods")
    return methods


def _check_method(method, argument):
    if isinstance(method, str) and method not in METHODS:
        raise ValueError(f"{argument} must be among {sorted(METHODS)} or objects, got {method!r}.")
    if not isinstance(method, str) and not hasattr(method, "prepare"):
        raise TypeError(f"{argument} must be names or objects such as HIF(), got {method!r}.")


def _check_validation(validation):
    if not isinstance(validation, ValidationData):
        raise TypeError(
            "validation must be ValidationData(X, y) with rows of its own, so that all methods "
            f"share one training; got {type(validation).__name__}. Split your rows with "
            "train_test_split."
        )


def _checked_truth(truth, n_samples):
    if truth is None:
        return None
    if not (isinstance(truth, str) or hasattr(truth, "prepare")):
        return check_column(truth, "truth", n_samples, dtype="float64")
    _check_method(truth, "truth")
    return truth


def _call_once(device):
    """Make torch and skorch do now what they do on their first call only."""
    X, y = np.eye(4), [0, 1, 0, 1]
    classifier = SAMClassifier(max_epochs=1, device=device, random_state=0)
    SAMInfluence(classifier, validation=ValidationData(X, y), random_state=0).fit(X, y)


def _trained(estimator, X, y, sample_weight, seed):
    """Frozen trained estimator, and seconds of its training (NaN if it came frozen)."""
    if is_frozen(estimator):
        return estimator, np.nan
    model = seed_nested(clone(estimator), seed)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    watch = Measure(net_of(model).device)
    model.fit(X, y, **weights)
    return FrozenEstimator(model), watch.lap()


def _scored(model, data, method, **settings):
    """Scores by a method, its seconds and its memory."""
    influence = SAMInfluence(model, method=method, **settings)
    found = influence.fit(*data).diagnostics_.loc[0]
    return influence.scores_, found["seconds_scoring"], found["peak_memory_mib"]


def _scored_by_all(methods, scored, bar):
    """Results of `scored` by method; a method that fails is left out, with a warning."""
    found, errors = {}, []
    for name, method in methods.items():
        bar.set_description(name)
        try:
            found[name] = scored(method)
        except Exception as error:
            errors.append(error)
            if len(errors) == len(methods):
                raise
            warn(f"{name} failed: {error!r}", FitFailedWarning)
        bar.update()
    bar.set_description("comparison")
    return found


def _figures(scores, truth, wrong):
    figures = {} if truth is None else agreement(scores, truth).loc[0].to_dict()
    return figures if wrong is None else figures | {"auc": detection(scores, wrong)["auc"]}
