"""A module called with weights that are not its own."""

import torch

from sam_attribution.problem._activation_checkpointing import keeping_activations
from sam_attribution.training import arguments_for, flat_output, output_tensor


def functional_call(module, tensors, X):
    """Output of a module for a batch with the `tensors` (a dict, or dicts) as its own.

    Unlike ``torch.func.functional_call``, its backward pass is right with activation checkpointing.
    """
    args, kwargs = arguments_for(module, X)
    with keeping_activations():
        return output_tensor(torch.func.functional_call(module, tensors, args, kwargs))


def flat_call(module, tensors, X):
    """The same as one vector per row, (n, k), whatever form the module gives to its output."""
    return flat_output(functional_call(module, tensors, X))
