"""Check that a module's output depends on its weights for autograd in evaluation mode too."""

import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import device_of
from sam_attribution.training import flat_output, module_output, untouched_random_state


def check_output_graph(module, X):
    """Raise a ValueError if a module gives an output without a graph for a few rows `X`."""
    try:
        with untouched_random_state(device_of(X)), torch.enable_grad():
            output = flat_output(module_output(module, X))
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return
    if not output.requires_grad:
        raise ValueError(
            f"module {type(module).__name__} gives an output in evaluation mode that does not "
            "depend on its weights for autograd, so rows have no gradients: forward runs under "
            "torch.no_grad() there, or detaches its output. Remove that."
        )
