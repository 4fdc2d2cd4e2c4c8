"""Support for Hugging Face accelerate, which is never imported here.

skorch's ``AccelerateMixin`` keeps the accelerator in ``net.accelerator``. A net without one has no
loss scale, and none of its steps is skipped.
"""

import copy

from torch import nn

from sam_attribution.training._alone import of_one_process
from sam_attribution.training._module_copy import copy_of_module


def check_accelerator(net):
    """Raise a ValueError for what accelerate would do otherwise than it was asked for.

    Of accumulated gradients skorch keeps the last batch only.
    """
    n_steps = getattr(_accelerator(net), "gradient_accumulation_steps", 1)
    if n_steps != 1:
        raise ValueError(
            f"accelerator has gradient_accumulation_steps={n_steps}, but skorch clears the "
            "gradients before each batch, so only the last one would count. Use a larger "
            "batch_size."
        )


def scaler_of(net):
    """The GradScaler of half-precision training, or None."""
    return getattr(_accelerator(net), "scaler", None)


def is_mixed_precision(net):
    """True if accelerate computes the passes of a net in half precision."""
    return getattr(_accelerator(net), "mixed_precision", "no") != "no"


def loss_scale(net):
    """Factor of the loss before ``backward``: 1 without a GradScaler."""
    scaler = scaler_of(net)
    return 1.0 if scaler is None else float(scaler.get_scale())


def set_loss_scale(net, scale):
    """Give the GradScaler, if there is one, the scale of a recorded step."""
    scaler = scaler_of(net)
    if scaler is not None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale})


def was_skipped(net):
    """True if a GradScaler left out the last step because the gradient overflowed."""
    return bool(getattr(net.optimizer_, "step_was_skipped", False))


def prepare_copy(net):
    """Give a copy of a net an accelerator of its own, which computes as that of the net does.

    It is of one process, also where several trained the net.
    """
    accelerator = _accelerator(net)
    if accelerator is None:
        return
    accelerator = of_one_process(accelerator)
    # the user's accelerator keeps its lists of prepared models and optimizers
    accelerator._models, accelerator._optimizers = [], []
    accelerator.scaler = copy.deepcopy(accelerator.scaler)
    vars(net).update(accelerator=accelerator, _wrapped_with_accelerator=False)
    net._initialize_accelerator()


def bare_copy(module):
    """Copy of a module without the wrappers of accelerate: no autocast, full precision."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module
    module = copy_of_module(module)
    if vars(module).pop("_original_forward", None) is not None:
        del module.forward  # the instance's; that of the class is used again
    return module


def bare_optimizer(optimizer):
    """The torch optimizer inside accelerate's, or the one given."""
    wrapped = type(optimizer).__module__.partition(".")[0] == "accelerate"
    return optimizer.optimizer if wrapped else optimizer


def _accelerator(net):
    return getattr(net, "accelerator", None)
