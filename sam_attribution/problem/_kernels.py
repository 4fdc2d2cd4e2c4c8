"""Kernels that can be differentiated in every mode, for a while."""

import warnings
from contextlib import ExitStack, contextmanager
from functools import cache

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_kernels(module):
    """Choose kernels for `module` that have forward mode and second derivatives, for a while.

    Fused attention has neither, so it runs as plain matrix products; nor has oneDNN's LSTM,
    so oneDNN is off for recurrent modules (and on for the others: convolutions need it).
    """
    _load_forward_mode()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fastpath)
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(part, nn.RNNBase) for part in module.modules()):
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="TF32 acceleration")  # of Intel GPUs
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield


@cache
def _load_forward_mode():
    """Let torch load its rules for forward mode, which it calls deprecated itself, quietly."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.ones(1))
