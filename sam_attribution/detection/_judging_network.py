"""Scores of rows that were not in ``fit``, by a network and the classes in its features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sam_attribution.detection._calibrated_classes import spread, standardised
from sam_attribution.detection._linear_scores import LinearScores
from sam_attribution.detection._probabilities import mean_probability
from sam_attribution.detection._snapshots import snapshot
from sam_attribution.detection._untouched_scores import network_scores


class JudgingNetwork:
    """The states of one network and the classes that were fitted there, without any row.

    Parameters
    ----------
    signals : SplitSignals
    kinds : list of callable
        Features of the classes ``signals.early``: functions of a network and rows.
    states : list of training.State
        Those of the classes ``signals.later``.
    memberships : Tensor of shape (n_rows, n_classes)
        Probabilities of the true classes of the rows of ``fit``, to which classes are fitted.
    """

    def __init__(self, signals, kinds, states, memberships):
        train, held_out = signals.train, signals.held_out
        both = memberships[np.r_[train, held_out]]
        early = _fitted(signals.early, both, signals.early.scores(both)[0])
        self._early = [_Early(*pair) for pair in zip(kinds, early, strict=True)]
        own = memberships[train]
        later = _fitted(signals.later, own, signals.later.held_out_scores(own))
        self._later = list(zip(states, later, strict=True))

    def scores(self, network, X):
        """Scores of rows as they reach the network.

        Parameters
        ----------
        network : NetworkWithoutRows
        X : Tensor or RowSource

        Returns
        -------
        early : list of ndarray of shape (n, n_classes)
            One for each kind of features from before the training.
        later : list of ndarray of shape (n, n_classes)
            By features of the training, and by the network itself.
        """
        early = [each.classes(each.features(network, X)) for each in self._early]
        classes, log_p = 0, []
        for state, fitted in self._later:
            seen = snapshot(network, state, X)
            classes = classes + fitted(seen.features)
            log_p.append(seen.log_probabilities)
        return early, [classes, network_scores(mean_probability(log_p))]


@dataclass(frozen=True, eq=False)
class _Classes:
    """Classes in some features; `spread` is that of their scores for the rows of ``fit``."""

    linear: LinearScores
    spread: float

    def __call__(self, features):
        return standardised(self.linear(features).numpy(), self.spread)


@dataclass(frozen=True, eq=False)
class _Early:
    features: Callable
    classes: _Classes


def _fitted(class_model, memberships, scores):
    linear = class_model.linear_scores(memberships)
    spreads = [spread(each.numpy()) for each in scores]
    return [_Classes(*pair) for pair in zip(linear, spreads, strict=True)]
