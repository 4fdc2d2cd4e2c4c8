"""Modules around a module: for several devices, or compiled."""

from torch import nn

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def inner_module(module):
    """The module inside wrappers, whose parameters have the names that the user gave them."""
    while True:
        if isinstance(module, _PARALLEL):
            module = module.module
        elif hasattr(module, "_orig_mod"):  # by torch.compile; its class is slow to import
            module = module._orig_mod
        else:
            return module
