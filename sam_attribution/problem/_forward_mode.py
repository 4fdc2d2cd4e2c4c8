"""Forward mode that leaves out what backward passes leave out."""

from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@contextmanager
def forward_mode_as_backward():
    """Context for passes in forward mode: what a module computes under ``no_grad`` is constant.

    So is the entry ``padding_idx`` of an embedding. torch's forward mode goes through both, though
    the gradient that trains does not.
    """
    with torch.enable_grad(), _Constants():
        yield


class _Constants(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if torch.is_grad_enabled():
            given = _embedding if func is nn.functional.embedding else func
            return given(*args, **(kwargs or {}))
        constants = {name: _constant(value) for name, value in (kwargs or {}).items()}
        return func(*map(_constant, args), **constants)


def _embedding(tokens, weight, padding_idx=None, *args, **kwargs):
    if padding_idx is not None:
        place = torch.arange(len(weight), device=weight.device)
        is_padding = (place == padding_idx % len(weight))[:, None]
        weight = torch.where(is_padding, weight.detach(), weight)
    return nn.functional.embedding(tokens, weight, padding_idx, *args, **kwargs)


def _constant(value):
    """The value without tangents, in lists and tuples too."""
    if torch.is_tensor(value):
        return value.detach()
    if type(value) in (list, tuple):
        return type(value)(map(_constant, value))
    return value
