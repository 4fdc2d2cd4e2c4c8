"""A fitted estimator and some rows, as what every one of them asks of its model."""

import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution.influence._checks import check_estimator_kind
from sam_attribution.influence._estimator import (
    is_frozen,
    net_of,
    rows_at_net,
    train,
)
from sam_attribution.problem import Queries, evaluation_function, problem_from_estimator


def single_queries(
    estimator, X, y, X_query, y_query, *, sample_weight=None, evaluation="loss"
):  # fmt: skip
    """Make each query row a question of its own to the model of a fitted estimator.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        Fitted; left untouched.
    X, y, sample_weight : array-like
        Exactly what it was fitted on.
    X_query : array-like of shape (n_query, ...)
    y_query : array-like of shape (n_query,)
    evaluation : {"loss", "margin"} or callable, default="loss"

    Returns
    -------
    Queries
        Whose ``problem`` is the model with its rows.

    Raises
    ------
    ValueError
        If the rows are not those it was fitted on, or queries do not fit.
    """
    check_estimator_kind(estimator)
    check_is_fitted(estimator)
    check_consistent_length(X_query, y_query)
    frozen = estimator if is_frozen(estimator) else FrozenEstimator(estimator)
    rows, net = train(frozen, X, y, sample_weight), net_of(estimator)
    problem = problem_from_estimator(net, rows, y, sample_weight)
    X_query, y_query = net.to_tensors(rows_at_net(estimator, X_query), y_query)
    return Queries(
        problem,
        X_query,
        y_query,
        evaluation_function(evaluation, problem.row_loss),
        tuple(torch.arange(len(y_query), device=y_query.device).split(1)),
    )
