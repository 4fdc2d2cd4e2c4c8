"""An estimator trained on the rows of one split: what attribution and detection start from."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution._row_order import check_order
from sam_attribution._rows import with_own_targets
from sam_attribution._summary import summary
from sam_attribution._turns import exclusive
from sam_attribution._validation import check_given, take_rows
from sam_attribution.fitting._before_training import check_before_training, check_trained
from sam_attribution.fitting._checks import check_estimator_kind
from sam_attribution.fitting._estimator import (
    frozen_where_adopted,
    has_steps,
    is_frozen,
    net_of,
    rows_at_net,
    train,
)
from sam_attribution.fitting._measure import Measure
from sam_attribution.fitting._splits import Split
from sam_attribution.problem import (
    Problem,
    Queries,
    evaluation_function,
    problem_from_estimator,
)


@dataclass(eq=False)
class _CheckFirst:
    """A check before a training: whether it was made, and the seconds of the training before it."""

    check: Callable
    measure: Measure
    made: bool = False
    seconds: float = 0.0

    def __call__(self, *data):
        self.seconds = self.measure.lap()
        self.made = self.check(*data)
        self.measure.lap()


@dataclass(frozen=True, eq=False)
class TrainedSplit:
    """A fitted estimator, the split it was trained on, and the problem that it hands over.

    Attributes
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
    split : Split
    problem : Problem
        Its rows are those of ``split.train``, in that order.
    seconds : float
        Time that training took; near 0 if the estimator is frozen.
    """

    estimator: object
    split: Split
    problem: Problem
    seconds: float

    __repr__ = summary

    @property
    def net(self):
        """The net at the end of the estimator."""
        return net_of(self.estimator)

    @property
    def visited(self):
        """Mask of the problem's rows that sat in a batch, ndarray of bool."""
        return self.problem.visited.cpu().numpy()

    @property
    def trained_rows(self):
        """Positions, in the rows given to ``fit``, of those that sat in a batch; ascending."""
        return self.split.train[self.visited]

    def tensors(self, X, y=None):
        """Rows and label codes (or targets) as the network takes them."""
        return self.net.to_tensors(rows_at_net(self.estimator, X), y)

    def predict(self, X):
        """Predictions of the estimator."""
        return self.estimator.predict(X)

    def predict_proba(self, X):
        """Class probabilities of the estimator, shape (n, n_classes)."""
        return self.estimator.predict_proba(X)

    def check_data(self, X, y, sample_weight=None):
        """Raise a ValueError unless these are the rows given to ``fit``, in their order."""
        X, y, sample_weight = _rows_of(self.split, X, y, sample_weight)
        rows = train(FrozenEstimator(self.estimator), X, y, sample_weight)
        self.net.trajectory_.check_data(*self.net.as_trained(rows, y, sample_weight))


def train_split(
    estimator,
    split,
    X,
    y,
    sample_weight=None,
    *,
    parameters="all",
    batch_size="auto",
    method=None,
    differentiated=True,
):
    """Train an estimator on the rows of a split, in place, and hand it over as a TrainedSplit.

    `X`, `y` and `sample_weight` are all rows given to ``fit``; a frozen estimator stays as it is.
    A ValueError or TypeError, before training if this is the first split, for a model whose rows
    have no scores, or none by `method`; without `differentiated`, no outputs that a score can use.
    """
    measure, n_given = Measure(net_of(estimator).device), len(y)
    X, y, sample_weight = _rows_of(split, X, y, sample_weight)
    settings = {"parameters": parameters, "differentiated": differentiated}
    asked = {"method": method, "y_validation": split.y}
    check = partial(_check_first, estimator, split, **asked, **settings)
    first = _CheckFirst(check, measure)
    rows = train(estimator, X, y, sample_weight, first if split.is_first else None)
    seconds = first.seconds + measure.lap()
    problem = problem_from_estimator(
        net_of(estimator),
        rows,
        y,
        sample_weight,
        batch_size=batch_size,
        positions=split.train,
        n_given=n_given,
        # later splits train the same module, and end with the first one if that is refused
        checked=not is_frozen(estimator) and (first.made or not split.is_first),
        **settings,
    )
    if is_frozen(estimator):
        check_trained(net_of(estimator), problem, **asked)
    return TrainedSplit(estimator, split, problem, seconds)


@exclusive()
def fitted_on_all(estimator, X, y, sample_weight=None):
    """An estimator that is fitted in place on all rows, as a TrainedSplit without validation."""
    check_estimator_kind(estimator)
    every_row = Split(np.arange(len(y)), None, None, np.arange(0))
    return train_split(estimator, every_row, X, y, sample_weight, differentiated=False)


@exclusive()
def single_queries(
    estimator, X, y, X_query, y_query, *, sample_weight=None, evaluation="loss"
):  # fmt: skip
    """Queries, one per query row, to the model of a fitted estimator, which stays untouched.

    `X`, `y` and `sample_weight` are exactly what it was fitted on; other rows are refused.
    """
    check_estimator_kind(estimator)
    check_is_fitted(estimator)
    (X, y), (X_query, y_query) = with_own_targets(X, y), with_own_targets(X_query, y_query)
    check_given(y)
    check_given(y_query, "y_query")
    check_consistent_length(X_query, y_query)
    check_order(X=X, y=y, sample_weight=sample_weight)
    check_order(X_query=X_query, y_query=y_query)
    estimator = frozen_where_adopted(estimator)
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


def _check_first(estimator, split, *data, **settings):
    _check_steps(estimator, split)
    return check_before_training(*data, **settings)


def _check_steps(estimator, split):
    """Raise a ValueError if rows of ``ValidationData`` cannot go through the fitted steps."""
    if split.X is None or len(split.held_out) or not has_steps(estimator):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scoring gives the same warnings
            rows_at_net(estimator, take_rows(split.X, [0]))
    except ValueError as error:
        raise ValueError(
            f"validation cannot go through the steps of the Pipeline, as X can: {error}"
        ) from error


def _rows_of(split, X, y, sample_weight):
    weights = None if sample_weight is None else take_rows(sample_weight, split.train)
    return take_rows(X, split.train), take_rows(y, split.train), weights
