"""Forward mode that leaves out what backward passes leave out."""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def forward_mode_as_backward():
    """Context for passes in forward mode: what a module computes under ``no_grad`` is constant.

    torch's forward mode goes through ``no_grad``, though the gradient that trains does not.
    """
    with torch.enable_grad(), _NoGradIsConstant():
        yield


class _NoGradIsConstant(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if torch.is_grad_enabled():
            return func(*args, **(kwargs or {}))
        constants = {name: _constant(value) for name, value in (kwargs or {}).items()}
        return func(*map(_constant, args), **constants)


def _constant(value):
    """The value without tangents, in lists and tuples too."""
    if torch.is_tensor(value):
        return value.detach()
    if type(value) in (list, tuple):
        return type(value)(map(_constant, value))
    return value
