"""Module and criterion that a net builds from its seed, or copies from the user."""

import copy
import inspect
from contextlib import contextmanager

import torch
from torch import nn

from sam_attribution._seeding import draw_seed
from sam_attribution.training._components import check_module_arguments, checked_module
from sam_attribution.training._gradient_hooks import check_gradient_hooks
from sam_attribution.training._losses import (
    check_criterion,
    check_reduction,
    check_weight_argument,
)
from sam_attribution.training._module_copy import copy_of_module
from sam_attribution.training._random import isolated_random_state

_NO_ROWS = "module=None builds a network for the rows of fit. Call fit first, or pass module=."
_NO_ARRAYS = (
    "X has rows that are a dict, a tuple or anything else but one array each, and module=None "
    "builds a network for arrays only. Pass module=, a network whose forward takes them. Of the "
    "items of a Dataset the last part is y and all others are inputs: give pairs (x, y), without "
    "metadata."
)


class MLP(nn.Sequential):
    """Network with one hidden layer and GELU, a smooth activation as influence methods need it.

    `n_features` are the numbers per row (images are flattened), `n_outputs` the number of logits,
    or 1 for a regressor.
    """

    def __init__(self, n_features, n_outputs, n_hidden=32):
        super().__init__(
            nn.Flatten(),
            nn.Linear(n_features, n_hidden),
            nn.GELU(),
            nn.Linear(n_hidden, n_outputs),
        )


class ModuleBuilder:
    """Building side of :class:`Conformant`. Expects `random_state` and `dtype`."""

    _seed = None

    def __setattr__(self, name, value):
        if name in {"module", "criterion"}:
            # arguments of the constructor: skorch takes an instance for a part of the net
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def module_device(self):
        """Device of the module: `device` or, if that is None, where its parameters are."""
        somewhere = torch.device(self.device or "cpu")
        return next((p.device for p in self.module_.parameters()), somewhere)

    def _initialize_virtual_params(self):
        """Draw the seed of this run; every mixin's ``initialize`` begins with this call."""
        self._seed = self._new_seed()
        return super()._initialize_virtual_params()

    def _new_seed(self):
        return draw_seed(self.random_state)

    def initialize_module(self):
        """Build the module, or copy the user's."""
        kwargs = self.get_params_for("module")
        with isolated_random_state(self._seed, self.device), _float32_by_default():
            if isinstance(self.module, nn.Module) and not kwargs:
                check_gradient_hooks(self.module)
                module = copy_of_module(self.module)
            else:
                factory = self._module_factory()
                kwargs = self._sizes_named_by(factory) | kwargs
                check_module_arguments(factory, kwargs)
                module = factory(**kwargs)
            module = checked_module(module)
            check_gradient_hooks(module)
            self.module_ = module.to(getattr(torch, self.dtype))
        return self

    def _module_factory(self):
        if self.module is None:
            return MLP
        return type(self.module) if isinstance(self.module, nn.Module) else self.module

    def _sizes_named_by(self, factory):
        """Sizes such as ``n_features`` that are parameters of `factory`."""
        named = inspect.signature(factory).parameters
        sizes = self._sizes()
        if self.module is None and "n_features" not in sizes:
            raise ValueError(_NO_ARRAYS if hasattr(self, "_row_size") else _NO_ROWS)
        return {name: size for name, size in sizes.items() if name in named}

    def initialize_criterion(self):
        """Build the criterion, or copy the user's."""
        check_weight_argument(self.get_params_for("criterion").get("weight"))
        with _float32_by_default():
            super().initialize_criterion()
        if isinstance(self.criterion_, nn.Module):
            self.criterion_ = copy.deepcopy(self.criterion_).to(getattr(torch, self.dtype))
        self._check_criterion()
        return self

    def _check_criterion(self):
        check_reduction(self.criterion_)
        check_criterion(self.criterion_, self._sizes().get("n_classes"))


@contextmanager
def _float32_by_default():
    """Context in which torch makes numbers as it does by itself; the net casts them to its dtype.

    In another default dtype torch draws other weights from the same seed.
    """
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
