"""Callbacks that change the gradient of a step, and callbacks that end training."""

import torch
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)

from sam_attribution.dynamics import NoFunctionalForm

_TOLERANCE = 1e-4
_ONLY_WATCH = (
    BatchScoring,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)


def acting_on_gradients(callbacks):
    """The (name, callback) pairs whose callback sees gradients before the optimizer does."""
    return [
        pair
        for pair in callbacks
        if getattr(type(pair[1]), "on_grad_computed", None) is not Callback.on_grad_computed
    ]


def may_move_weights(callback, method_name):
    """True if a callback has a method of that name of its own, which might change weights."""
    own = getattr(type(callback), method_name, None) is not getattr(Callback, method_name, None)
    return own and type(callback) not in _ONLY_WATCH


def factor_between(before, after):
    """Number by which `before` was multiplied to give `after`; NaN if there is none."""
    if torch.equal(before, after):
        return 1.0
    before, after = before.double(), after.double()  # squares of float32 may leave its range
    factor = float(after @ before) / float(before @ before)
    off = torch.linalg.vector_norm(after - factor * before)
    return factor if off <= _TOLERANCE * torch.linalg.vector_norm(after) else float("nan")


def is_clipping(callback):
    """True if a callback clips the norm of gradients and changes nothing else."""
    return type(callback) is GradientNormClipping


def may_clip(callbacks):
    """True if a net with these `callbacks` may clip the norm of gradients; the setting as given."""
    if not isinstance(callbacks, list | tuple):
        return False
    given = [each[-1] if isinstance(each, tuple) else each for each in callbacks]
    return any(is_clipping(each) and each.gradient_clip_value is not None for each in given)


def norm_clippings(callbacks, steps):
    """Largest norm and type of norm of each clipping among (name, callback) pairs, in order."""
    if others := sorted({name for step in steps if not step.skipped for name in step.changed_by}):
        raise NoFunctionalForm(
            f"callbacks hold {others[0]}, which changes gradients in a way that this method "
            'cannot differentiate. Clip with GradientNormClipping, or use method="loo" or '
            '"further-training", which repeat the net\'s own steps.',
            f"{others[0]} changes gradients otherwise than by clipping their norm",
        )
    return [
        (callback.gradient_clip_value, callback.gradient_clip_norm_type)
        for _, callback in callbacks
        if is_clipping(callback) and callback.gradient_clip_value is not None
    ]


def raised_by_callback(error):
    """True if a callback itself raised an error, as skorch's callbacks do to end training.

    Ctrl-C in a function that a callback calls, such as a forward pass, gives False.
    """
    origin = error.__traceback__
    while origin.tb_next:
        origin = origin.tb_next
    return isinstance(origin.tb_frame.f_locals.get("self"), Callback)
