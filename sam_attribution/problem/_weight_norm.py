"""Weight norm by its formula: torch's own kernel on the CPU has a wrong second derivative."""

import torch
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode


class WeightNormByFormula(TorchFunctionMode):
    """A mode in which weights ``g v / ||v||`` are computed operation by operation."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        rule = _normed if func is torch._weight_norm else func
        return rule(*args, **(kwargs or {}))


def has_weight_norm(module):
    """True if some weight of the module is normed, in torch's new way or its old."""
    return any(
        isinstance(part, _WeightNorm)
        or any(isinstance(hook, WeightNorm) for hook in part._forward_pre_hooks.values())
        for part in module.modules()
    )


def _normed(v, g, dim=0):
    return v * (g / torch.norm_except_dim(v, 2, dim))
