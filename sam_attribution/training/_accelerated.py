"""What a net does for Hugging Face accelerate, which is never imported here.

skorch's ``AccelerateMixin`` leaves it in ``net.accelerator``; a net without one has no loss scale,
and none of its steps is skipped.
"""

import copy

from torch import nn


def check_accelerator(net):
    """Raise for a setting of accelerate under which skorch's steps are not the ones promised."""
    n_steps = getattr(_accelerator(net), "gradient_accumulation_steps", 1)
    if n_steps != 1:
        raise ValueError(
            f"accelerator has gradient_accumulation_steps={n_steps}, of which skorch keeps the "
            "last batch only: it clears the gradients before each. Use a larger batch_size."
        )


def scaler_of(net):
    """The GradScaler of half-precision training, or None."""
    return getattr(_accelerator(net), "scaler", None)


def loss_scale(net):
    """What the loss is multiplied by before ``backward``: 1 without a GradScaler."""
    scaler = scaler_of(net)
    return 1.0 if scaler is None else float(scaler.get_scale())


def set_loss_scale(net, scale):
    """Take over the scale that a recorded step had."""
    scaler = scaler_of(net)
    if scaler is not None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale})


def was_skipped(net):
    """Whether a GradScaler left out the last step, for an overflow."""
    return bool(getattr(net.optimizer_, "step_was_skipped", False))


def why_not_recorded(net):
    """Reason why a run of `net` cannot be gone through again, or None."""
    if getattr(_accelerator(net), "num_processes", 1) > 1:
        return "it ran in several processes, each of which knows its own batches only"
    return None


def prepare_twin(twin):
    """Give a net an accelerator of its own, with which it computes what the other one would."""
    accelerator = _accelerator(twin)
    if accelerator is None:
        return
    accelerator = copy.copy(accelerator)
    # what is prepared below is none of the user's accelerator's business
    accelerator._models, accelerator._optimizers = [], []
    accelerator.scaler = copy.deepcopy(accelerator.scaler)
    vars(twin).update(accelerator=accelerator, _wrapped_with_accelerator=False)
    twin._initialize_accelerator()


def bare_copy(module):
    """Copy of a module without what accelerate puts around it: no autocast, in full width."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module
    module = copy.deepcopy(module)
    if vars(module).pop("_original_forward", None) is not None:
        del module.forward  # of the instance; the class's own comes out
    return module


def bare_optimizer(optimizer):
    """The torch optimizer inside accelerate's, or the one given."""
    return getattr(optimizer, "optimizer", optimizer)


def _accelerator(net):
    return getattr(net, "accelerator", None)
