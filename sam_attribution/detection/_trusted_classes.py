"""Class scores by the classes of trusted rows, in features before and during the training."""

from dataclasses import dataclass

import numpy as np
import torch

from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._shrinkage import best_shrinkage


@dataclass(frozen=True, eq=False)
class TrustedClasses:
    """Scores by classes that are fitted to trusted rows alone.

    Attributes
    ----------
    untouched : list of pairs of ndarray of shape (n, n_classes) and (m, n_classes)
        Of the rows trained on, and of the trusted rows themselves, cross-fitted; a pair for each
        kind of features that no label has touched.
    later : pair of ndarray of shape (n, n_classes) and (m, n_classes)
        Mean over the states of the training: the labels trained on have moved these features.
    """

    untouched: list
    later: tuple


def trusted_classes(kinds, states, y, n_classes):
    """Fit the classes.

    Parameters
    ----------
    kinds : list of pairs of Tensor of shape (n, n_features) and (m, n_features)
        Features of the rows trained on and of the trusted rows, that no label has touched.
    states : list of pairs of Tensor
        Features at states of the training.
    y : Tensor of int64, shape (m,)
        Codes of the trusted labels.
    n_classes : int

    Returns
    -------
    TrustedClasses or None
        None if there is a class that no trusted row has.
    """
    if (torch.bincount(y, minlength=n_classes) == 0).any():
        return None
    found = [_scores(pair, y, n_classes) for pair in [*kinds, *states]]
    untouched, later = found[: len(kinds)], found[len(kinds) :]
    return TrustedClasses(
        untouched, tuple(np.mean(each, axis=0) for each in zip(*later, strict=True))
    )


def _scores(features, y, n_classes):
    others, own = features
    weights = torch.ones(len(y))
    model = ClassModel(stratified_folds(y), weights)
    model.add_state(own, others, best_shrinkage(own, y, weights, n_classes))
    scores = model.scores(torch.eye(n_classes)[y])
    return tuple(each[0].numpy() for each in reversed(scores))
