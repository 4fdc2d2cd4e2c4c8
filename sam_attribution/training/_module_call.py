"""A module called on a batch, and the tensor in what it returns: training and scoring do the same.

A dict goes to ``forward`` by names. A tuple goes there as several arguments if ``forward`` needs
several, otherwise as a whole.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache

import torch

from sam_attribution.training._wrappers import inner_module

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def arguments_for(module, X):
    """Positional and keyword arguments with which a module takes a batch."""
    if isinstance(X, dict):
        return (), X
    if isinstance(X, tuple) and _takes_several(type(inner_module(module))):
        return X, {}
    return (X,), {}


def output_tensor(output):
    """The tensor in a module's output: ``output.logits`` if it has that, or the only one in it."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    if isinstance(logits := getattr(output, "logits", None), torch.Tensor):
        return logits
    if isinstance(output, tuple | list) and len(output) == 1:
        return output[0]
    return output


def module_output(module, X):
    """Output of a module for a batch."""
    args, kwargs = arguments_for(module, X)
    return output_tensor(module(*args, **kwargs))


@lru_cache(maxsize=128)
def _takes_several(kind):
    """True if ``forward`` of a class of modules has several arguments without a default."""
    try:
        _, *parameters = inspect.signature(kind.forward).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [p for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    return len(needed) > 1
