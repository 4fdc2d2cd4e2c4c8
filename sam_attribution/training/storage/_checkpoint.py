"""Checkpoint of a net: all that it needs to continue training as if it had not stopped."""

import random

import numpy as np
import torch

from sam_attribution.training._flat_module import FlatModule, put_state, take_state
from sam_attribution.training._trajectory import State
from sam_attribution.training._wrappers import inner_module
from sam_attribution.training.storage._callback_state import callback_states, restore_callbacks


def take_checkpoint(net):
    """Everything that training changes, as data, without history and schedule."""
    flat = FlatModule(net.module_)
    parameters = inner_module(net.module_).named_parameters()
    is_module = isinstance(net.criterion_, torch.nn.Module)
    return {
        "state": vars(take_state(net, flat, net.trajectory_.n_steps)),
        "trained": list(flat.layout.names),
        "frozen": {name: p for name, p in parameters if not p.requires_grad},
        "criterion": net.criterion_.state_dict() if is_module else None,
        "callbacks": callback_states(net.callbacks_),
        "classes": getattr(net, "classes_inferred_", None),
        # a callback may have changed it; a function is passed again
        "rho": None if callable(net.rho) else net.rho,
        "m_sharpness": net.m_sharpness,
        "random": _random_state(net.module_device),
    }


@torch.no_grad()
def put_checkpoint(net, checkpoint, changed):
    """Give a new net, after ``on_train_begin``, the state of a checkpoint.

    `changed` holds the changes of the callbacks, by name.
    """
    for name, parameter in inner_module(net.module_).named_parameters():
        parameter.requires_grad_(name in checkpoint["trained"])
        if name in checkpoint["frozen"]:
            parameter.copy_(checkpoint["frozen"][name])
    put_state(net, FlatModule(net.module_), State(**checkpoint["state"]))
    if checkpoint["criterion"] is not None:
        net.criterion_.load_state_dict(checkpoint["criterion"])
    restore_callbacks(net.callbacks_, checkpoint["callbacks"], changed)
    if checkpoint["rho"] is not None:
        net.rho = checkpoint["rho"]
    net.m_sharpness = checkpoint.get("m_sharpness", net.m_sharpness)
    _set_random_state(net.module_device, checkpoint["random"])


# steps are seeded by their number; a user's samplers and transforms draw from these streams
def _random_state(device):
    on_cuda = torch.device(device).type == "cuda"
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if on_cuda else None,
    }


def _set_random_state(device, state):
    if "python" in state:  # older runs have none
        random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
