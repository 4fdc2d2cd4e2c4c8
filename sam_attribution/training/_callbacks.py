"""Callbacks that change a step, and by how much."""

import torch
from skorch.callbacks import Callback, GradientNormClipping

_TOLERANCE = 1e-4


def acting_on_gradients(callbacks):
    """Those of the (name, callback) pairs that look at gradients before the optimiser does."""
    return [
        pair
        for pair in callbacks
        if getattr(type(pair[1]), "on_grad_computed", None) is not Callback.on_grad_computed
    ]


def factor_between(before, after):
    """The number that `before` was multiplied by, NaN if that is not what happened to it."""
    if torch.equal(before, after):
        return 1.0
    before, after = before.double(), after.double()  # squares of float32 may leave its range
    factor = float(after @ before) / float(before @ before)
    off = torch.linalg.vector_norm(after - factor * before)
    return factor if off <= _TOLERANCE * torch.linalg.vector_norm(after) else float("nan")


def norm_clippings(callbacks):
    """Largest norm and type of norm of each clipping among (name, callback) pairs, in order.

    Raises
    ------
    ValueError
        If another callback acts on gradients.
    """
    acting = [callback for _, callback in acting_on_gradients(callbacks)]
    for callback in acting:
        if type(callback) is not GradientNormClipping:
            raise ValueError(
                f"callbacks hold {type(callback).__name__}, which changes gradients in a way that "
                "this method cannot differentiate. Clip with GradientNormClipping."
            )
    return [(c.gradient_clip_value, c.gradient_clip_norm_type) for c in acting]
