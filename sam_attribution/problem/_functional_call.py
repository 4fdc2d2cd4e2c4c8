"""A module called with weights that are not its own."""

from itertools import chain

import torch

from sam_attribution.problem._activation_checkpointing import keeping_activations
from sam_attribution.problem._autodiff_fallbacks import kernels_of
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


class RepeatedCall:
    """:func:`flat_call` of one module, for many calls: its tensors are searched for once.

    The module must keep its parts, which a private copy does. ``kernels()`` is the context of
    :func:`differentiable_kernels` for it.
    """

    def __init__(self, module):
        self._module = module
        self.kernels = kernels_of(module)
        self._places = _places_of_tensors(module)

    def __call__(self, tensors, X):
        """The output for a batch with `tensors`, by name, in the place of the module's own."""
        args, kwargs = arguments_for(self._module, X)
        exchanged = []
        try:
            for name, tensor in tensors.items():
                for table, key in self._places[name]:
                    exchanged.append((table, key, table[key]))
                    table[key] = tensor
            with keeping_activations():
                output = self._module(*args, **kwargs)
        finally:
            for table, key, own in reversed(exchanged):
                table[key] = own
        return flat_output(output_tensor(output))


def _places_of_tensors(module):
    """Tables and keys at which the parts of a module hold each parameter and buffer, by its name.

    A tied one is held at several places.
    """
    held = {}
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for key, tensor in table.items():
                held.setdefault(id(tensor), []).append((table, key))
    named = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    return {name: held[id(tensor)] for name, tensor in named}
