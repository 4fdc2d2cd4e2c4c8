"""Parts of an estimator: steps that prepare the rows, and a net at the end."""

from copy import copy, deepcopy

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sam_attribution._folders import user_path
from sam_attribution._seeding import seed_nested
from sam_attribution.training import check_gradient_hooks, is_adopted, kept_tensors


def net_of(estimator):
    """The net at the end of pipelines, frozen or not: a SAMClassifier or a SAMRegressor."""
    last = last_step(estimator)
    return net_of(last.estimator) if isinstance(last, FrozenEstimator) else last


def frozen_where_adopted(estimator):
    """`estimator`, its net in a FrozenEstimator if ``from_module`` made it: it is not trained."""
    if is_adopted(estimator):
        return FrozenEstimator(estimator)
    if not isinstance(estimator, Pipeline):
        return estimator
    name, last = estimator.steps[-1]
    frozen = frozen_where_adopted(last)
    if frozen is last:
        return estimator
    twin = copy(estimator)
    twin.steps = [*estimator.steps[:-1], (name, frozen)]
    return twin


def last_step(estimator):
    """The end of (nested) pipelines: a net, or something frozen."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def with_net(estimator, net):
    """`net` behind copies of the steps of a fitted `estimator`; nothing stays frozen."""
    if isinstance(estimator, FrozenEstimator):
        return with_net(estimator.estimator, net)
    if not isinstance(estimator, Pipeline):
        return net
    twin = copy(estimator)
    name, last = estimator.steps[-1]
    twin.steps = [*deepcopy(estimator.steps[:-1]), (name, with_net(last, net))]
    return twin


def is_frozen(estimator):
    """True if the net is used as it is."""
    return isinstance(last_step(estimator), FrozenEstimator)


def has_steps(estimator):
    """True if rows are changed on their way to the net."""
    inner = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
    return isinstance(inner, Pipeline)


def rows_at_net(estimator, X):
    """Rows of `X` as they reach the net of a fitted `estimator`."""
    while isinstance(estimator, Pipeline | FrozenEstimator):
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        else:
            X = estimator[:-1].transform(X) if len(estimator.steps) > 1 else X
            estimator = estimator.steps[-1][1]
    return X


def clones(estimator, n_splits, seed, device):
    """Yield a clone for each split: seeded, on `device`, with a trajectory folder of its own."""
    if not is_frozen(estimator):
        _check_copies(net_of(estimator).module)
    for number in range(n_splits):
        twin = seed_nested(clone(estimator), seed)
        net = net_of(twin)
        if device is not None and not is_frozen(twin):
            net.set_params(device=device)
        if n_splits > 1 and net.trajectory_dir is not None:
            folder = user_path(net.trajectory_dir, "trajectory_dir")
            net.set_params(trajectory_dir=folder / f"split_{number}")
        yield twin


def _check_copies(module):
    """Raise a ValueError for a module that scikit-learn's clone could not copy as it is."""
    if not isinstance(module, nn.Module):
        return
    check_gradient_hooks(module)
    for name, _ in kept_tensors(module):
        raise ValueError(
            f"module cannot be cloned, because it holds the tensor {name!r} with its autograd "
            "graph. Give a function that makes the module instead of the module; for "
            "torch.nn.utils.weight_norm use torch.nn.utils.parametrizations.weight_norm."
        )


def train(estimator, X, y, sample_weight=None, check=None):
    """Fit what is not frozen, in place; return the rows that the net was trained on, bit for bit.

    `X` and `y` are the training rows; for a frozen net those that it was trained on. `check` is
    called with net, rows, `y` and `sample_weight` before the net is trained.
    """
    rows = _fit_steps(estimator, X, y)
    last = last_step(estimator)
    if isinstance(last, FrozenEstimator):
        check_is_fitted(last)
        net_of(last).trajectory_.check_begun()
        return _rows_of_frozen(last.estimator, rows, y, sample_weight)
    if check is not None:
        check(last, rows, y, sample_weight)
    last.fit(rows, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))
    return rows


def _fit_steps(estimator, X, y):
    """Fit the steps before the last; return the rows that reach it."""
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            steps = estimator[:-1]
            X = steps.fit_transform(X, y)
            estimator.steps[:-1] = steps.steps  # with memory= the fitted ones are copies
        estimator = estimator.steps[-1][1]
    return X


def _rows_of_frozen(estimator, X, y, sample_weight):
    # steps such as PCA give other bits in fit_transform than in transform: the record of the
    # training tells which of the two it saw, and complains of what is returned if neither
    net = net_of(estimator)
    rows = rows_at_net(estimator, X)
    if not has_steps(estimator) or _was_trained_on(net, rows, y, sample_weight):
        return rows
    refitted = _fit_steps(clone(estimator), X, y)
    return refitted if _was_trained_on(net, refitted, y, sample_weight) else rows


def _was_trained_on(net, X, y, sample_weight):
    try:
        net.trajectory_.check_data(*net.as_trained(X, y, sample_weight))
    except ValueError:
        return False
    return True
