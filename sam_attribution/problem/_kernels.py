"""Kernels that can be differentiated in every mode, for a while."""

from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable_kernels(module):
    """Choose kernels for `module` that have forward mode and second derivatives, for a while.

    Fused attention has neither, so it runs as plain matrix products; nor has oneDNN's LSTM,
    so oneDNN is off for recurrent modules (and on for the others: convolutions need it).
    """
    fastpath = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fastpath)
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(part, nn.RNNBase) for part in module.modules()):
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield
