"""Check that a module, called as a function, computes with the weights that it is given."""

import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import device_of
from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem._evaluation_weights import moved_weights, write_weights
from sam_attribution.problem._functional_call import flat_call
from sam_attribution.problem._nearness import are_near
from sam_attribution.training import flat_output, module_output, untouched_random_state

_TOLERANCE = 1e-3


def check_given_weights(module, X, *, differentiated=True):
    """Raise a ValueError if output or gradient at other weights are not those of these weights.

    Without `differentiated` the output alone counts.

    `module`, a copy that is used up, is first called with other weights for a few rows `X`, and
    then has them as its own. The two differ if parts are computed again in the backward pass (by a
    kind of activation checkpointing that is not torch's), or if weights are kept elsewhere.
    """
    try:
        with untouched_random_state(device_of(X)):
            outputs, gradients = _at_other_weights(module, X)
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return
    compared = (outputs, gradients) if differentiated else (outputs,)
    depends = gradients[0] is not None
    if not depends or not all(are_near(given, own, _TOLERANCE) for given, own in compared):
        raise ValueError(
            f"module {type(module).__name__} does not compute with the weights that it is called "
            "with, so scores would be those of other weights. If it uses activation "
            "checkpointing, switch it off or use torch.utils.checkpoint. If it keeps weights "
            "outside of its parameters, make them parameters. If forward was set on the "
            "instance, as by torch.compile(module.forward), use torch.compile(module)."
        )


def _at_other_weights(module, X):
    """Output and gradient by a functional call, each with that of a module with these weights.

    The gradient is None if the output does not depend on the weights given.
    """
    layout = ParameterLayout(module)
    other = moved_weights(module, layout)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.enable_grad():
        output = flat_call(module, (layout.unflatten(other), buffers), X)
        like = {"dtype": output.dtype, "device": output.device}
        along = torch.linspace(1, 2, output.numel(), **like).view(output.shape)
        (gradient,) = torch.autograd.grad(output, other, along, allow_unused=True)
        if gradient is None:
            return (output.detach(), output.detach()), (None, None)
        write_weights(module, layout, other)
        own_output = flat_output(module_output(module, X))
        own_output.backward(along)
    parameters = layout.parameters_of(module)
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return (output.detach(), own_output.detach()), (gradient, layout.flatten(own))
