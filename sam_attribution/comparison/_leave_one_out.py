"""Leave-one-out and leave-group-out retraining as a function."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from sam_attribution._summary import summary, summary_html
from sam_attribution.influence import SAMInfluence
from sam_attribution.retraining import FixedPoint, LeaveOneOut
from sam_attribution.validation_data import ValidationData


@dataclass(frozen=True, eq=False)
class LeftOutEffects:
    """Effects of the absence of rows on the validation loss.

    Attributes
    ----------
    scores : ndarray of shape (n_samples,)
        ``V(w without k) - V(w)``, aligned with the rows given; a row's share of its group's
        effect if groups were left out, NaN if the row never was.
    standard_errors : ndarray of shape (n_samples,) or None
        Over the seeds; None for a single one.
    group_effects : ndarray of shape (n_seeds, n_groups)
        Of whole groups, in the order given, labels in ascending order; of single rows, in the
        order of ``rows``, without groups.
    estimator : SAMClassifier, SAMRegressor or Pipeline
        Fitted to all rows.
    """

    scores: np.ndarray
    standard_errors: np.ndarray | None
    group_effects: np.ndarray
    estimator: object

    __repr__ = summary
    _repr_html_ = summary_html


def leave_one_out(
    estimator,
    X,
    y,
    validation,
    *,
    method=None,
    evaluation="loss",
    sample_weight=None,
    random_state=None,
    resume_dir=None,
):
    """Train without each row, or group of rows, and measure the rise of the validation loss.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        As for :class:`~sam_attribution.SAMInfluence`.
    X : array-like of shape (n_samples, ...)
    y : array-like of shape (n_samples,)
    validation : ValidationData
        Rows to judge by.
    method : LeaveOneOut or FixedPoint, default=None
        What to leave out and how: ``LeaveOneOut(rows=[3, 7])`` for some rows,
        ``LeaveOneOut(groups=...)`` for groups. ``None`` is ``LeaveOneOut()``: every row in turn.
    evaluation : {"loss", "margin"} or callable, default="loss"
    sample_weight : array-like of shape (n_samples,), default=None
    random_state : int, RandomState instance or None, default=None
        Goes to an estimator that has none of its own.
    resume_dir : path, default=None
        Folder for the models that are finished. After Ctrl-C, an error or a kill, the same call
        finds the others only. LeaveOneOut keeps models a stack at a time (up to 100 small ones):
        see its ``models_at_once``. It needs a `random_state`, here or of the estimator, and
        stands for the method's own `resume_dir`. By default an interruption loses all models.

    Returns
    -------
    LeftOutEffects

    Raises
    ------
    TypeError
        If `validation` is no ``ValidationData``, or `method` is something else.
    ValueError
        For a `resume_dir` with a method that has another one.

    See Also
    --------
    sam_attribution.retraining.LeaveOneOut : The settings, and what they cost.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution import SAMClassifier, ValidationData
    >>> from sam_attribution.comparison import leave_one_out
    >>> from sam_attribution.retraining import LeaveOneOut
    >>> X, y = load_iris(return_X_y=True)
    >>> held_out, X, y = ValidationData(X[::3], y[::3]), X[1::3], y[1::3]
    >>> classes = LeaveOneOut(groups=y)
    >>> found = leave_one_out(
    ...     SAMClassifier(max_epochs=3), X, y, held_out, method=classes
    ... )
    >>> found.scores.shape, found.group_effects.shape
    ((50,), (1, 3))
    """
    method = LeaveOneOut() if method is None else method
    if not isinstance(method, LeaveOneOut | FixedPoint):
        raise TypeError(
            f"method must be a LeaveOneOut() or FixedPoint(), got {method!r}. For FurtherTraining "
            "there is comparison.further_training."
        )
    if not isinstance(validation, ValidationData):
        raise TypeError(
            "validation must be ValidationData(X, y), so that every row given is trained on, got "
            f"{type(validation).__name__}."
        )
    influence = SAMInfluence(
        estimator,
        method=_resumable(method, resume_dir),
        validation=validation,
        evaluation=evaluation,
        random_state=random_state,
    ).fit(X, y, sample_weight=sample_weight)
    attribution = influence.attributions_[0]
    effects = attribution.prepared.group_effects(attribution.queries)[..., 0]
    return LeftOutEffects(
        scores=influence.scores_,
        standard_errors=getattr(influence, "standard_errors_", None),
        group_effects=effects.cpu().numpy().astype(np.float64),
        estimator=influence.estimator_,
    )


def _resumable(method, resume_dir):
    """The method with a folder for finished models, if one is given."""
    if resume_dir is None:
        return method
    if method.resume_dir not in (None, resume_dir):
        raise ValueError(
            f"resume_dir={resume_dir!r} and method={method!r} name two folders. Pass one of them."
        )
    return clone(method).set_params(resume_dir=resume_dir)
