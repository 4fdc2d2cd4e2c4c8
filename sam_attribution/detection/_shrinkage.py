"""How far the covariance of a class model is shrunk: as the given labels are most probable."""

import torch

from sam_attribution.detection._class_model import (
    MOST_FEATURES,
    ClassModel,
    leading_directions,
    stratified_folds,
    subsample,
)
from sam_attribution.detection._noise_model import fit_as_given

_TRIED = (0.1, 0.3, 0.6, 0.9, 0.97)
_ROWS = 3000


def best_shrinkage(features, y, weights, n_classes):
    """Return the shrinkage under which labels are most probable by the classes of other rows.

    Few rows, or labels of which many are wrong, say little about a direction of many features;
    classes that hardly regard their covariance are then the better ones.

    Parameters
    ----------
    features : Tensor of shape (n, n_features)
    y : Tensor of int64, shape (n,)
        Codes.
    weights : Tensor of shape (n,)
    n_classes : int
    """
    some = subsample(len(y), _ROWS)
    features, y, weights = _narrow(features[some]), y[some], weights[some]
    folds, rows = stratified_folds(y), torch.arange(len(y))

    def log_likelihood(shrinkage):
        model = ClassModel(folds, weights)
        model.add_state(features, features[:1], shrinkage)
        return weights @ fit_as_given(model, y, weights, n_classes).log_p[rows, y]

    return max(_TRIED, key=log_likelihood)


def _narrow(features):
    if features.shape[1] <= MOST_FEATURES:
        return features
    return features @ leading_directions(features)
