"""Checks on a few rows that refuse what cannot be attributed, before anything is trained."""

import numpy as np
import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import whole_of
from sam_attribution._validation import classes_of, take_rows
from sam_attribution.problem import (
    entries_differ,
    problem_before_training,
    spread_positions,
    tolerance_of,
)
from sam_attribution.training import (
    bare_optimizer,
    criterion_name,
    ignored_target,
    untouched_random_state,
    untrained,
)

_N_ROWS = 16
_TOLERANCE = 1e-3


def check_before_training(
    net,
    X,
    y,
    sample_weight=None,
    *,
    y_validation=None,
    parameters="all",
    method=None,
    differentiated=True,
):
    """Raise a ValueError or TypeError if the rows of a net could have no scores by `method`.

    Module, criterion and optimizer are built as ``net.fit`` would; `net` does not change. Without
    a `method` the checks are those that hold for all of them; without `differentiated`, those for
    outputs alone. What ``fit`` itself would refuse is left to it: False if that kept the net from
    being checked, else True.
    """
    trial = _untrained(net, X, y, sample_weight)
    if trial is None:
        return False
    with untouched_random_state(trial.net.module_device):
        settings = {"parameters": parameters, "differentiated": differentiated}
        problem = problem_before_training(trial, **settings)
        check_trained(trial.net, problem, y_validation, method)
    return True


def check_trained(net, problem, y_validation=None, method=None):
    """The same checks of a few rows of a problem, for a net that is trained already."""
    if y_validation is not None and problem.n_classes is None:
        check_some_target(net.criterion_, y_validation, "y of validation")
    some = spread_positions(problem.n_rows, _N_ROWS)
    problem = problem.part(some.to(problem.device))
    if problem.differentiated:
        _check_losses(net, problem)
    if method is not None:
        method.check_model(problem, bare_optimizer(net.optimizer_))


def check_some_target(criterion, y, name):
    """Raise a ValueError if `criterion` ignores all targets `y`, whose losses are 0 then."""
    ignored, y = ignored_target(criterion), np.asarray(y)
    if ignored is not None and y.dtype.kind in "iu" and y.size and (y == ignored).all():
        raise ValueError(
            f"{name} holds {ignored} alone, which criterion {criterion_name(criterion)} ignores "
            "(ignore_index): every score would be 0. Pass rows that have a target."
        )


def _untrained(net, X, y, sample_weight):
    """None for what cannot be built, or not be trained: training says why."""
    some = spread_positions(len(y), _N_ROWS).numpy()
    weights = None if sample_weight is None else take_rows(sample_weight, some)
    classes = classes_of(y) if hasattr(net, "predict_proba") else None
    try:
        return untrained(net, take_rows(X, some), take_rows(y, some), weights, classes)
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, criterion or optimizer, which may raise anything
        return None


def _check_losses(net, problem):
    """Raise a ValueError unless a batch's loss is the mean of losses that single rows have."""
    with torch.no_grad():
        X = whole_of(problem.X)
        output = problem.logits(problem.params, problem.buffers, X)
        _check_dtype(problem, output)
        losses = problem.row_loss.per_sample(output, problem.y)
        alone = _losses_alone(net, problem, output)
        batch = problem.row_loss.as_given(output)
        batch = net.get_loss(batch, problem.y, X=X, training=True)
    criterion, tolerance = criterion_name(net.criterion_), tolerance_of(_TOLERANCE, losses.dtype)
    if entries_differ(losses, torch.cat(alone), tolerance):
        raise ValueError(
            f"criterion {criterion} gives a row another loss alone than in a batch: it couples "
            "the rows of the batch. Use one that is a sum over rows."
        )
    mean = losses.sum() / problem.class_sizes.sum()
    if entries_differ(mean, batch.mean(), tolerance, losses.abs().max()):
        raise ValueError(
            f"the loss of a batch, {float(batch):.4g} by criterion {criterion} and get_loss, is "
            f"not the mean of its rows' losses, {float(mean):.4g}. Scores would leave out the "
            "difference. Use a loss that is a mean over rows, and weight_decay of the optimizer "
            "for a penalty."
        )


def _losses_alone(net, problem, output):
    """Losses of rows that the criterion is given one by one."""
    rows = zip(output.split(1), problem.y.split(1), strict=True)
    try:
        return [problem.row_loss.per_sample(*row) for row in rows]
    except OUT_OF_MEMORY:
        raise
    except Exception as error:  # of the user's criterion, which may raise anything
        raise ValueError(
            f"criterion {criterion_name(net.criterion_)} cannot compute the loss of a row alone: "
            f"{error} Scores need the loss of each row by itself."
        ) from error


def _check_dtype(problem, output):
    dtype = problem.params.dtype
    if torch.promote_types(output.dtype, dtype) != output.dtype:
        given, wanted = (str(each).removeprefix("torch.") for each in (output.dtype, dtype))
        raise ValueError(
            f"module {type(problem.module).__name__} has weights in {wanted} but outputs in "
            f"{given}, as autocast gives them, and losses of rows need {wanted}. End forward with "
            f".to(torch.{wanted})."
        )
