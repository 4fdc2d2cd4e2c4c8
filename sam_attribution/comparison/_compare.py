"""Several methods on the same trained model, as a table."""

import time

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from tqdm.auto import tqdm

from sam_attribution._seeding import draw_seed, seed_nested
from sam_attribution.comparison._memory import MemoryPeak
from sam_attribution.influence import METHODS, SAMInfluence
from sam_attribution.metrics import agreement, detection
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
        Cloned and trained once, for all methods; what is frozen is taken as it is.
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,)
    validation : ValidationData
        What the model is judged by: rows of their own.
    truth : str, Method or array-like of shape (n_samples,), optional
        What removal does: scores that are known, or a method that finds them by retraining, such
        as ``"loo"`` or ``LeaveOneOut(rows=[...])``. NaN for rows that were not tried.
    wrong : array-like of bool, shape (n_samples,), optional
        Rows known to have a wrong label.
    sample_weight : array-like of shape (n_samples,), optional
    evaluation : {"loss", "margin"} or callable, default="loss"
    batch_size : int or "auto", default="auto"
    random_state : int, RandomState instance or None, default=None
        Goes to the training, and to methods that draw.
    verbose : int, default=0
        Above 0 shows a progress bar over the methods.
    return_scores : bool, default=False
        Return the scores as well.

    Returns
    -------
    table : DataFrame
        A line for each method. With `truth`: `pearson`, `spearman`, `slope`, `cosine`, `n`, see
        :func:`~sam_attribution.metrics.agreement`. With `wrong`: `auc`, the chance that a wrong
        row has the lower score of a random pair. `seconds` of scoring; `trainings`, the same as a
        multiple of the training (NaN if it was frozen); `peak_memory_mib` of scoring, above what
        was there before (NaN where the system does not tell).
    scores : DataFrame of shape (n_samples, n_methods)
        With `return_scores`; with `truth` that is the last column.

    Raises
    ------
    ValueError
        For names that are not known or not unique, or as SAMInfluence does.
    TypeError
        If `validation` is no ValidationData.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sam_attribution import SAMClassifier, ValidationData
    >>> from sam_attribution.comparison import compare
    >>> X, X_val, y, y_val = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> table = compare(
    ...     ["gif", "tracin"], SAMClassifier(max_epochs=5), X, y,
    ...     validation=ValidationData(X_val, y_val), random_state=0,
    ... )
    >>> list(table.columns)
    ['seconds', 'trainings', 'peak_memory_mib']
    """
    methods = _by_name(methods)
    if not isinstance(validation, ValidationData):
        raise TypeError(
            "validation must be ValidationData(X, y) with rows of its own, so that all methods "
            f"share one training; got {validation!r}. Split your rows with train_test_split."
        )
    seed = draw_seed(random_state)
    model, seconds = _trained(estimator, X, y, sample_weight, seed)
    settings = {
        "validation": validation,
        "evaluation": evaluation,
        "batch_size": batch_size,
        "random_state": seed,
    }

    def scored(method):
        influence = SAMInfluence(model, method=method, **settings)
        with MemoryPeak(influence.device) as peak:
            influence.fit(X, y, sample_weight)
        return influence, peak.mib

    found = {}
    for name, method in tqdm(methods.items(), desc="methods", disable=not verbose):
        influence, mib = scored(method)
        found[name] = influence.scores_, influence.diagnostics_["seconds_scoring"][0], mib
    if isinstance(truth, str) or hasattr(truth, "prepare"):
        truth = scored(truth)[0].scores_
    lines = {
        name: _figures(scores, truth, wrong)
        | {"seconds": taken, "trainings": taken / seconds, "peak_memory_mib": mib}
        for name, (scores, taken, mib) in found.items()
    }
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("method")
    if not return_scores:
        return table
    columns = {name: scores for name, (scores, _, _) in found.items()}
    return table, pd.DataFrame(columns if truth is None else columns | {"truth": truth})


def _by_name(methods):
    if len(methods) == 0:
        raise ValueError('methods must name at least one method, such as ["gif"], got none.')
    if isinstance(methods, dict):
        return methods
    names = [method if isinstance(method, str) else repr(method) for method in methods]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"methods must differ, got {sorted(repeated)} more than once.")
    if unknown := [m for m in methods if isinstance(m, str) and m not in METHODS]:
        raise ValueError(f"methods must be among {sorted(METHODS)} or objects, got {unknown}.")
    return dict(zip(names, methods, strict=True))


def _trained(estimator, X, y, sample_weight, seed):
    """The estimator trained, and frozen; seconds of the training, NaN if it was frozen before."""
    if isinstance(estimator, FrozenEstimator):
        return estimator, np.nan
    model = seed_nested(clone(estimator), seed)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    start = time.perf_counter()
    model.fit(X, y, **weights)
    return FrozenEstimator(model), time.perf_counter() - start


def _figures(scores, truth, wrong):
    figures = {} if truth is None else agreement(scores, truth).loc[0].to_dict()
    return figures if wrong is None else figures | {"auc": detection(scores, wrong)["auc"]}
