"""Everything that ``fit`` of a front door needs before it trains: checked rows, splits, clones."""

from typing import Any, NamedTuple

import numpy as np

from sam_attribution._row_order import check_order
from sam_attribution._seeding import draw_seed
from sam_attribution._validation import check_sample_weight, forget_fit
from sam_attribution.fitting._checks import checked_training_rows, estimator_or_default
from sam_attribution.fitting._estimator import clones
from sam_attribution.fitting._groups import checked_groups
from sam_attribution.fitting._splits import Split, make_splits


class FitData(NamedTuple):
    """Checked data, and a clone to train for each split.

    Attributes
    ----------
    X, y, sample_weight : array-like
        All rows given; weights are None if none came.
    splits : list of Split
    estimators : list
        Seeded clones, one per split.
    seed : int
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    splits: list[Split]
    estimators: list
    seed: int


def fit_data(judge, X, y, sample_weight, targets, *, groups=None, device=None):
    """Check what ``fit`` was given, forget an earlier fit, draw splits and make clones.

    `judge` is a SAMInfluence or MislabelDetector. Raises a ValueError or TypeError for data that do
    not fit the estimator, one another, or the validation.
    """
    forget_fit(judge)
    check_order(X=X, y=y, sample_weight=sample_weight, groups=groups)
    X, y = checked_training_rows(judge, X, y, targets)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X)
    groups = checked_groups(groups, judge.validation, len(y))
    seed = draw_seed(judge.random_state)
    splits = make_splits(judge.validation, X, y, targets, seed, groups)
    estimator = estimator_or_default(judge.estimator)
    estimators = list(clones(estimator, len(splits), seed, device))
    return FitData(X, y, sample_weight, splits, estimators, seed)
