"""Copies of modules that keep tensors of a forward pass."""

import copy

import torch


def copy_of_module(module):
    """A deep copy of a module, in which tensors that it keeps from a pass have no graph.

    Old weight norm keeps its weight, other modules keep activations. torch cannot copy these.
    """
    memo = {id(kept): kept.detach().clone() for _, kept in kept_tensors(module)}
    return copy.deepcopy(module, memo)


def kept_tensors(module):
    """Yield names and tensors with a graph that a module has as attributes, or in such."""
    for prefix, part in module.named_modules():
        for name, value in [*vars(part).items(), *part.named_buffers(recurse=False)]:
            for tensor in _tensors(value):
                if not tensor.is_leaf:
                    yield f"{prefix}.{name}".lstrip("."), tensor


def _tensors(value):
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)
