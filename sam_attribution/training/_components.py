"""Checks of a net's module, criterion, optimizer, callbacks and device, which name the argument."""

import inspect

import torch
from torch import nn
from torch.nn.parameter import is_lazy

_KINDS = {"module": nn.Module, "criterion": nn.Module, "optimizer": torch.optim.Optimizer}


def check_components(net):
    """Raise a TypeError if an argument of the net is of the wrong kind."""
    for name, kind in _KINDS.items():
        given = getattr(net, name)
        cls = given if isinstance(given, type) else type(given)
        # anything else, such as a partial, may make one
        is_one = cls is given or issubclass(cls, nn.Module)
        if is_one and not issubclass(cls, kind):
            raise TypeError(f"{name} must be or make a torch {kind.__name__}, got {given!r}.")
    for item in net.callbacks if isinstance(net.callbacks, list) else []:
        _check_callback(item)


def check_device(device):
    """Raise a ValueError unless tensors can be put on `device`; None means where they are."""
    if device is None:
        return
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} cannot be computed on here: {str(error).splitlines()[0]} "
            'Use "cpu", or a device that this torch finds.'
        ) from error


def check_module_arguments(factory, arguments):
    """Raise a TypeError if a module cannot be made with `arguments`."""
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise TypeError(
            f"module={factory!r} cannot be built: {error}. Pass arguments as module__<name>, or "
            "an instance."
        ) from error


def checked_module(module):
    """The module itself; raise if it cannot be trained."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must make a torch.nn.Module, got {type(module).__name__}.")
    if not any(True for _ in module.parameters()):
        raise ValueError(f"module must have parameters to train, got {module!r}.")
    if complex_ := [name for name, p in module.named_parameters() if p.is_complex()]:
        raise ValueError(
            f"module has a complex parameter, {complex_[0]!r}, whose imaginary part would be lost. "
            "Keep real and imaginary part as one real parameter, and join them in forward with "
            "torch.view_as_complex."
        )
    if held := [name for name, part in _tensors_of(module) if part.is_meta]:
        raise ValueError(
            f"module has {held[0]!r} on the meta device, where it has no values. Call "
            'module.to_empty(device="cpu"), and load the trained weights.'
        )
    if made := [name for name, p in module.named_parameters() if not p.is_leaf]:
        raise ValueError(
            f"module has a parameter, {made[0]!r}, that is made from another tensor, as those of a "
            "copied torch.jit.ScriptModule are, and cannot be trained. Pass the module that it "
            "was made from."
        )
    if lazy := [name for name, p in module.named_parameters() if is_lazy(p)]:
        raise ValueError(
            f"module has a lazy parameter, {lazy[0]!r}, that has no shape before a first batch. "
            "Give its layer a size (nn.Linear for nn.LazyLinear), or call the module on a batch "
            "before you pass it."
        )
    return module


def _tensors_of(module):
    return [*module.named_parameters(), *module.named_buffers()]


def _check_callback(item):
    callback = item[-1] if isinstance(item, list | tuple) and item else item
    # None switches a named one off
    if callback is not None and not hasattr(callback, "on_train_begin"):
        raise TypeError(f"callbacks must hold skorch callbacks, or (name, callback), got {item!r}.")
