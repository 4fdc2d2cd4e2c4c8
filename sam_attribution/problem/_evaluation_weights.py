"""Check that a module in evaluation mode computes with its parameters, not with copies of them."""

import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import device_of
from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem._functional_call import flat_call
from sam_attribution.problem._nearness import are_near
from sam_attribution.training import flat_output, module_output, untouched_random_state

# Adapters of a large net change its output little
_TOLERANCES = {torch.float64: 1e-6}
_TOLERANCE_OF_OTHERS = 1e-3
_STEP = 0.1


def moved_weights(module, layout):
    """Flat weights near those of a module, a leaf that asks for a gradient."""
    w = layout.vector_of(module)
    noise = 2 * torch.rand_like(w) - 1  # normal numbers take longer
    return (w + _STEP * w.square().mean().sqrt() * noise).requires_grad_()


@torch.no_grad()
def write_weights(module, layout, vector):
    """Copy a flat vector into the trainable parameters of a module."""
    values = layout.unflatten(vector).values()
    for parameter, value in zip(layout.parameters_of(module), values, strict=True):
        parameter.copy_(value)


def check_evaluation_weights(module, X):
    """Raise a ValueError if a module computes with tensors that it made from weights before.

    A layer may merge weights, or keep what it computes from them, when it enters evaluation mode or
    in its first pass there. `module`, a copy that is used up, is called with other weights for a
    few rows `X`. Then it is given these in training mode, and enters evaluation mode.
    """
    try:
        with untouched_random_state(device_of(X)):
            given, own, unused = _called_and_entered(module, X)
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return
    tolerance = _TOLERANCES.get(own.dtype, _TOLERANCE_OF_OTHERS)
    if not are_near(given, own, tolerance):
        raise ValueError(
            f"module {type(module).__name__} does not compute with its parameters in evaluation "
            "mode, but with tensors that it made from them before, as LoRA layers that merge "
            f"their weights in eval() do{_owners(module, unused)}. Scores and edits would be "
            "wrong. Train and evaluate without merging (merge_weights=False in loralib), or "
            "compute from the parameters in every forward pass."
        )


def _called_and_entered(module, X):
    """Outputs at other weights, called with them and having them, and what had no effect.

    The last are names of parameters without a gradient in evaluation mode.
    """
    layout = ParameterLayout(module)
    other = moved_weights(module, layout)
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.enable_grad():
        given = flat_call(module, (layout.unflatten(other), buffers), X)
    unused = _without_effect(given, other, layout)
    module.train()
    write_weights(module, layout, other)
    if unused:
        _pass_in_training(module, X, buffers)
    module.eval()
    with torch.enable_grad():  # by the same kernels
        own = flat_output(module_output(module, X))
    return given.detach(), own.detach(), unused


def _without_effect(output, weights, layout):
    """Names of the parameters on which an output does not depend."""
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(output.sum(), weights, allow_unused=True)
    if gradient is None:
        return list(layout.names)
    return [name for name, part in layout.unflatten(gradient).items() if not part.any()]


@torch.no_grad()
def _pass_in_training(module, X, buffers):
    """Let a module drop what a pass in training mode drops; its `buffers` are restored."""
    try:
        module_output(module, X)
    except OUT_OF_MEMORY:
        raise
    except Exception:  # such as batch norm of a single row
        pass
    for name, buffer in module.named_buffers():
        buffer.copy_(buffers[name])


def _owners(module, unused):
    """Phrase that names the layers whose parameters have no effect."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in unused)
    named = [f"{type(module.get_submodule(at)).__name__} at {at!r}" for at in layers if at]
    return f" ({', '.join(named)})" if named else ""
