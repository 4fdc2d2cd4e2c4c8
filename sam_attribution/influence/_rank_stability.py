"""Correlation between the scores of several seeds."""

from itertools import combinations

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_consistent_length

from sam_attribution._rows import with_own_targets
from sam_attribution._validation import check_sample_weight
from sam_attribution.fitting import checked_rows, estimator_or_default, is_frozen, net_of
from sam_attribution.validation_data import ValidationData


def rank_stability(influence, X, y, sample_weight, n_seeds):
    """Mean Spearman correlation between the scores of a fitted influence and of `n_seeds` others.

    All pairs count. Start, batch order and dropout masks are drawn anew; rows and splits stay.
    """
    _check(influence, X, y, sample_weight)
    everyone = [influence.scores_]
    for number in range(1, n_seeds + 1):
        other = _reseeded(influence, number)
        everyone.append(other.fit(X, y, sample_weight=sample_weight).scores_)
    return float(np.mean([_spearman(*pair) for pair in combinations(everyone, 2)]))


def _check(influence, X, y, sample_weight):
    X, y = with_own_targets(X, y)
    if X is None or y is None:
        raise ValueError("n_seeds trains again: pass the rows of fit, diagnose(X, y, n_seeds=2).")
    if not np.array_equal(np.asarray(y), influence._y):
        raise ValueError("y is not that of fit: pass the same rows in the same order.")
    if is_frozen(estimator_or_default(influence.estimator)):
        raise ValueError(
            "n_seeds trains again with other seeds, and a FrozenEstimator or a net of "
            "from_module is never trained again. Give SAMInfluence a classifier that is not "
            "frozen."
        )
    check_consistent_length(X, y)
    X = checked_rows(influence, X)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X)
    for attribution in influence.attributions_:
        attribution.trained.check_data(X, influence._y, sample_weight)


def _reseeded(influence, number):
    """The same splits and settings, another training."""
    twin = clone(influence)
    seed = int(np.random.SeedSequence([influence._seed, number]).generate_state(1)[0])
    estimator = estimator_or_default(twin.estimator)
    # a folder holds one training, that of the influence itself
    net_of(estimator).set_params(random_state=seed, trajectory_dir=None)
    if not isinstance(twin.validation, ValidationData):  # a fraction would be drawn anew
        splits = [each.trained.split for each in influence.attributions_]
        twin.validation = check_cv([(split.train, split.held_out) for split in splits])
    return twin.set_params(estimator=estimator, random_state=influence._seed)


def _spearman(one, other):
    both = ~(np.isnan(one) | np.isnan(other))
    return spearmanr(one[both], other[both]).statistic
