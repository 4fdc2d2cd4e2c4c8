"""Checks on a few rows that refuse what cannot be attributed, before anything is trained."""

import numpy as np
import torch

from sam_attribution._validation import classes_of, take_rows
from sam_attribution.problem import problem_before_training
from sam_attribution.training import bare_optimizer, untouched_random_state, untrained

_N_ROWS = 16
_TOLERANCE = 1e-3


def check_before_training(net, X, y, sample_weight=None, *, parameters="all", method=None):
    """Raise a ValueError or TypeError if the rows of a net could have no scores by `method`.

    Module, criterion and optimizer are built as ``net.fit`` would; `net` does not change. Without
    a `method` the checks are those that hold for all of them. What ``fit`` itself would refuse is
    left to it.
    """
    trial = _untrained(net, X, y, sample_weight)
    if trial is None:
        return
    with untouched_random_state(trial.net.module_device):
        problem = problem_before_training(trial, parameters=parameters)
        check_trained(trial.net, problem, method)


def check_trained(net, problem, method=None):
    """The same checks of a few rows of a problem, for a net that is trained already."""
    problem = problem.part(torch.arange(min(_N_ROWS, len(problem.y)), device=problem.y.device))
    _check_losses(net, problem)
    if method is not None:
        method.check_model(problem, bare_optimizer(net.optimizer_))


def _untrained(net, X, y, sample_weight):
    """None for what cannot be built, or not be trained: training says why."""
    some = np.unique(np.linspace(0, len(y) - 1, _N_ROWS).astype(int))
    weights = None if sample_weight is None else take_rows(sample_weight, some)
    classes = classes_of(y) if hasattr(net, "predict_proba") else None
    try:
        return untrained(net, take_rows(X, some), take_rows(y, some), weights, classes)
    except Exception:  # of the user's module, criterion or optimizer, which may raise anything
        return None


def _check_losses(net, problem):
    """Raise a ValueError unless a batch's loss is the mean of losses that single rows have."""
    with torch.no_grad():
        output = problem.logits(problem.params, problem.buffers, problem.X)
        losses = problem.row_loss.per_sample(output, problem.y)
        alone = [
            problem.row_loss.per_sample(*row)
            for row in zip(output.split(1), problem.y.split(1), strict=True)
        ]
        batch = net.get_loss(output, problem.y, X=problem.X, training=True)
    criterion = type(net.criterion_).__name__
    if _differ(losses, torch.cat(alone)):
        raise ValueError(
            f"criterion {criterion} gives a row another loss alone than together with other rows: "
            "it couples the rows of a batch. Use one that is a sum over rows."
        )
    mean = losses.sum() / problem.class_sizes.sum()
    if _differ(mean, batch):
        raise ValueError(
            f"the loss of a batch, {float(batch):.4g} by criterion {criterion} and get_loss, is "
            f"not the mean of its rows' losses, {float(mean):.4g}: what is added or divided by is "
            "not known. Use a criterion that is a mean, and weight_decay as a penalty."
        )


def _differ(values, others):
    known = values.isfinite()  # a net may have diverged
    distance = (values - others)[known].abs()
    return len(distance) > 0 and bool((distance > _TOLERANCE * values[known].abs().max()).any())
