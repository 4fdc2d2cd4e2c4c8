"""Fallbacks where torch cannot differentiate a module: other kernels, and other ways."""

import warnings
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from sam_attribution.problem._embedding_bags import BagsAsSums
from sam_attribution.problem._weight_norm import WeightNormByFormula, has_weight_norm


def differentiable_kernels(module):
    """Choose kernels for `module` that have forward mode and second derivatives, for a while.

    Fused attention has neither, so it runs as plain matrix products; nor has oneDNN's LSTM,
    so oneDNN is off for recurrent modules (and on for the others: convolutions need it). Nor have
    embedding bags: they become sums. Weight norm has a wrong second derivative on the CPU: it is
    computed by its formula.
    """
    return kernels_of(module)()


def kernels_of(module):
    """Function that gives the context of :func:`differentiable_kernels`, for many steps."""
    layers = []
    if any(isinstance(part, nn.EmbeddingBag) for part in module.modules()):
        layers.append(BagsAsSums)
    if has_weight_norm(module):
        layers.append(WeightNormByFormula)
    if any(isinstance(part, nn.RNNBase) for part in module.modules()):
        layers.append(_without_onednn)
    return partial(_kernels, layers)


@contextmanager
def _kernels(layers):
    _load_forward_mode()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    with sdpa_kernel(SDPBackend.MATH), ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fastpath)
        torch.backends.mha.set_fastpath_enabled(False)
        for context in layers:
            stack.enter_context(context())
        yield


@contextmanager
def _without_onednn():
    with warnings.catch_warnings():
        # of Intel GPUs, on entering and on leaving
        warnings.filterwarnings("ignore", message="TF32 acceleration")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


class FirstThatWorks:
    """Ways to the same numbers, from the fastest to the most general.

    `purpose` is the end of the error message if none works, as in "cannot be ...". ``chosen`` holds
    the way that works for each problem asked so far.
    """

    def __init__(self, purpose, *ways):
        self.purpose = purpose
        self.ways = ways
        self.chosen = WeakKeyDictionary()

    def of(self, problem, attempt):
        """The way that works for a problem; `attempt` takes a way and follows it for a few rows.

        A ValueError if none does, with the error of each.
        """
        if problem not in self.chosen:
            self.chosen[problem] = self._find(problem, attempt)
        return self.chosen[problem]

    def _find(self, problem, attempt):
        errors = []
        for way in self.ways:
            try:
                with differentiable_kernels(problem.module):
                    attempt(way)
            except (RuntimeError, NotImplementedError) as error:
                errors.append(f"{way.__name__}: {str(error).splitlines()[0]}")
            else:
                return way
        raise ValueError(
            f"{type(problem.module).__name__} cannot be {self.purpose}. " + "; ".join(errors)
        )


@cache
def _load_forward_mode():
    """Load torch's rules for forward mode without the deprecation warning that torch raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.ones(1))
