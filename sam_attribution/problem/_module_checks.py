"""Checks of a module before a score relies on it, made once for each module."""

from weakref import WeakSet

import torch
from torch import nn

from sam_attribution._rows import rows_in
from sam_attribution.problem._evaluation_weights import check_evaluation_weights
from sam_attribution.problem._few_rows import distinct_rows, tried_copy
from sam_attribution.problem._given_weights import check_given_weights
from sam_attribution.problem._output_graph import check_output_graph
from sam_attribution.problem._row_independence import check_row_independence

_CHECKED: WeakSet[nn.Module] = WeakSet()
_N_FOR_GRADIENTS = 2


def check_layers(module):
    """Raise a ValueError for a module, or layers in it, that cannot have scores by their kind."""
    _check_mode(module)
    _check_kind(module)


def check_on_few_rows(problem):
    """Raise a ValueError for a module whose rows have no scores, or none by ``problem.head``.

    A TypeError for an output that the loss would misread.

    Costs about half a dozen passes with 8 rows or fewer, in float64; nothing for a module that was
    checked before.
    """
    module = problem.module
    if module in _CHECKED or not len(problem.X):
        return
    rows = distinct_rows(problem.X)
    tried = tried_copy(module, rows)
    if tried is not None:
        problem.row_loss.check_output(tried.output)
        check_row_independence(*tried)
        few = rows_in(tried.X, slice(_N_FOR_GRADIENTS))
        check_given_weights(tried.module, few, differentiated=problem.differentiated)
        check_evaluation_weights(tried.module, few)
        if problem.differentiated:
            check_output_graph(tried.module, few)
    if problem.head is not None:
        named = problem.layout.unflatten(problem.params)
        problem.head.check_gradient(named, problem.buffers, rows)
    mark_as_checked(module)


def mark_as_checked(module):
    """Spare a copy of a module that was checked."""
    _CHECKED.add(module)


def _check_mode(module):
    if any(part.training for part in module.modules()):
        raise ValueError(
            "module must be in evaluation mode: batch statistics couple the rows. "
            "Pass copy.deepcopy(module).eval()."
        )
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ValueError(
                f"module has a layer of kind {type(part).__name__} at {name!r} without running "
                "statistics, which couples the rows in evaluation mode too. Use "
                "track_running_stats=True."
            )


def _check_kind(module):
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            at = (
                f"has a torch.jit.ScriptModule at {name!r}"
                if name
                else "is a torch.jit.ScriptModule"
            )
            raise ValueError(
                f"module {at} ({type(part).__name__}), which cannot be called with other weights "
                "than its own. Pass the module that it was made from."
            )
        if not isinstance(part, nn.Embedding | nn.EmbeddingBag):
            continue
        if part.scale_grad_by_freq:
            raise ValueError(
                f"module has a layer of kind {type(part).__name__} at {name!r} with "
                "scale_grad_by_freq=True: its updates are not gradients of the loss, so rows "
                "have no scores. Use scale_grad_by_freq=False."
            )
        if part.max_norm is not None:
            raise ValueError(
                f"module has a layer of kind {type(part).__name__} at {name!r} with "
                f"max_norm={part.max_norm}: it changes its weight when it is called, so its "
                "output is not a function of its weights. Use max_norm=None."
            )
