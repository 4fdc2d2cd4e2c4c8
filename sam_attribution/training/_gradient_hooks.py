"""Hooks on parameters that change gradients, which no copy of a module has."""

import torch

from sam_attribution.training._random import untouched_random_state

_LARGE = 1e4  # that clipping would change


def check_gradient_hooks(module):
    """Raise a ValueError if a hook on a parameter changes its gradient, or acts on it.

    ``copy.deepcopy`` leaves such hooks out. Each hook is called once with made-up numbers as the
    gradient. A hook that only reads them is allowed.
    """
    for name, parameter in module.named_parameters():
        hooks = (parameter._backward_hooks or {}).values()
        acting = bool(getattr(parameter, "_post_accumulate_grad_hooks", None))
        if acting or any(_changes(hook, parameter) for hook in hooks):
            raise ValueError(
                f"module has a hook on its parameter {name!r} that changes the gradient or acts "
                "on it. A copy of the module does not have the hook, so steps could not be "
                "repeated, and scores would be those of another training. Change gradients in "
                "the on_grad_computed of a callback, freeze weights with requires_grad_(False), "
                "or register the hook on a layer (register_full_backward_hook)."
            )


@torch.no_grad()
def _changes(hook, parameter):
    """True if a hook returns another gradient than it is given, or writes into it."""
    size = parameter.numel()
    given = torch.linspace(-_LARGE, _LARGE, size, device=parameter.device).to(parameter.dtype)
    given = given.view(parameter.shape)
    gradient = given.clone()
    try:
        with untouched_random_state(parameter.device):
            found = hook(gradient)
    except Exception:  # of the user's function, which may raise anything
        return True
    return not torch.equal(gradient, given) or not (found is None or torch.equal(found, given))
