"""Queries, one per row, to the model of a fitted estimator."""

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution.fitting._checks import check_estimator_kind
from sam_attribution.fitting._estimator import is_frozen
from sam_attribution.fitting._splits import Split
from sam_attribution.fitting._trained_split import train_split
from sam_attribution.problem import Queries, evaluation_function


def single_queries(
    estimator, X, y, X_query, y_query, *, sample_weight=None, evaluation="loss"
):  # fmt: skip
    """Queries, one per query row, to the model of a fitted estimator, which stays untouched.

    `X`, `y` and `sample_weight` are exactly what it was fitted on; other rows are refused.
    """
    check_estimator_kind(estimator)
    check_is_fitted(estimator)
    check_consistent_length(X_query, y_query)
    frozen = estimator if is_frozen(estimator) else FrozenEstimator(estimator)
    every_row = Split(np.arange(len(y)), X_query, y_query, np.arange(0))
    trained = train_split(frozen, every_row, X, y, sample_weight)
    X_query, y_query = trained.tensors(X_query, y_query)
    return Queries(
        trained.problem,
        X_query,
        y_query,
        evaluation_function(evaluation, trained.problem.row_loss),
        tuple(torch.arange(len(y_query), device=y_query.device).split(1)),
    )
