"""Batch norm in training whose running statistics can be differentiated."""

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sam_attribution.dynamics import NoFunctionalForm


class RunningStatistics(TorchFunctionMode):
    """A mode in which batch norm leaves its running statistics alone; ``after`` has the new ones.

    torch writes them in place, out of sight of autograd, and evaluation mode reads them without a
    derivative; but what they owe to the weights matters. Here both are differentiable. `buffers`
    are the very tensors that the module is called with, ``after`` all of them, those of batch norm
    as training would leave them.
    """

    def __init__(self, buffers):
        super().__init__()
        self._names = {id(buffer): name for name, buffer in buffers.items()}
        self.after = dict(buffers)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        rule = self._batch_norm if func is nn.functional.batch_norm else func
        return rule(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input,
        running_mean,
        running_var,
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    ):
        affine = (weight, bias, training, momentum, eps)
        if running_mean is None or not (training or running_mean.requires_grad):
            return nn.functional.batch_norm(input, running_mean, running_var, *affine)
        if not training:
            return _normalised(input, running_mean, running_var, weight, bias, eps)
        if id(running_mean) not in self._names:  # no buffer of the module
            return nn.functional.batch_norm(input, running_mean, running_var, *affine)
        variance, mean = torch.var_mean(input, [0, *range(2, input.ndim)], correction=1)
        self._move(running_mean, mean, momentum)
        self._move(running_var, variance, momentum)
        return nn.functional.batch_norm(input, None, None, *affine)

    def _move(self, buffer, statistic, momentum):
        name = self._names[id(buffer)]
        before = self.after[name]  # not `buffer`: a layer may be called twice
        self.after[name] = (1 - momentum) * before + momentum * statistic


def _normalised(input, mean, variance, weight, bias, eps):
    """Batch norm in evaluation mode, with the derivatives in mean and variance that torch lacks."""
    scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    return input * _per_channel(scale, input) + _per_channel(shift, input)


def _per_channel(value, input):
    return value.view(-1, *[1] * (input.ndim - 2))


def couples_rows(module):
    """True if some batch norm in the module takes its statistics from the batch, in its mode."""
    return any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training
        for part in module.modules()
    )


def running_statistics(module):
    """Names of the buffers that batch norm moves in training, as a set.

    NoFunctionalForm for a batch norm that does not compute as torch's does.
    """
    for prefix, part in _norms(module).items():
        if not part.forward.__module__.startswith("torch."):
            raise NoFunctionalForm(
                f"module has {type(part).__name__} at {prefix!r}, a batch norm with a forward of "
                "its own: how its running statistics depend on the weights is not known. Use one "
                'of torch.nn, or use a method such as "gif" or "loo".',
                f"module has {type(part).__name__} at {prefix!r}, which has a forward of its own",
            )
    return statistics_of(module)


def statistics_of(module):
    """Names of the running statistics of every batch norm in the module, as a set."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in _norms(module).items()
        for name in ("running_mean", "running_var")
        if getattr(part, name) is not None
    }


def _norms(module):
    return {
        prefix: part
        for prefix, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
    }
