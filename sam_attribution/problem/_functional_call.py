"""A module called with weights that are not its own."""

import torch

from sam_attribution.problem._activation_checkpointing import keeping_activations
from sam_attribution.training import flat_output


def functional_call(module, tensors, X):
    """Output of a module for `X` with the `tensors` (a dict, or dicts) as parameters and buffers.

    Unlike ``torch.func.functional_call``, its backward pass is right with activation checkpointing.
    """
    with keeping_activations():
        return torch.func.functional_call(module, tensors, (X,))


def flat_call(module, tensors, X):
    """The same as one vector per row, (n, k), whatever form the module gives to its output."""
    return flat_output(functional_call(module, tensors, X))
