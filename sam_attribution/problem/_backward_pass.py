"""Buffers that a backward pass moves, which a step as a function cannot know."""

import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import device_of
from sam_attribution.dynamics import NoFunctionalForm
from sam_attribution.training import module_output, untouched_random_state


def check_buffers_in_backward(module, X):
    """Raise NoFunctionalForm if a module in training mode moves a buffer in its backward pass.

    `module` is a copy that is used up, `X` a few rows.
    """
    try:
        with untouched_random_state(device_of(X)), torch.enable_grad():
            output = module_output(module, X)
            before = {name: buffer.clone() for name, buffer in module.named_buffers()}
            output.sum().backward()
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return
    moved = [n for n, b in module.named_buffers() if not torch.equal(b, before[n])]
    if moved:
        raise NoFunctionalForm(
            f"module changes its buffer {moved[0]!r} in the backward pass, as batch norm does "
            "inside of activation checkpointing. This method supports changes in the forward "
            "pass only. Leave batch norm out of activation checkpointing, or use a method such "
            'as "gif".',
            f"module changes its buffer {moved[0]!r} in the backward pass",
        )
