"""Copies of a net. The independent ones own everything that training changes."""

import copy

import torch

from sam_attribution.training._accelerated import bare_copy, prepare_twin
from sam_attribution.training._callbacks import acting_on_gradients
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._trajectory import Trajectory


def shallow_copy(net):
    """A net with the same attributes, each the same object; ``copy.copy`` would go by pickle."""
    twin = object.__new__(type(net))
    vars(twin).update(vars(net))
    return twin


def edited_copy(net, params, buffers, reason):
    """A copy of a fitted net with other weights, and no recorded training.

    Parameters
    ----------
    net : SAMClassifier
        Fitted; left untouched.
    params : Tensor of shape (n_params,)
        Its new trainable parameters.
    buffers : dict of str to Tensor
        New values of some buffers; the others stay.
    reason : str
        What happened to the weights: said to whoever wants to go through the training again.

    Returns
    -------
    SAMClassifier
        With an optimizer that remembers nothing and no `trajectory_dir`, so that nothing is
        written over the run of `net`.
    """
    twin = _independent_copy(net, net.callbacks_)
    flat = FlatModule(twin.module_)
    flat.write(params.to(flat.vector()))
    flat.write_buffers(flat.copy_of_buffers() | buffers)
    twin.trajectory_ = Trajectory(None, net.trajectory_.seed)
    twin.trajectory_.mark_broken(reason)
    twin.trajectory_dir = twin._on_disk = None
    return twin


def replaying_copy(net, sample_weight, dtype):
    """A copy of a fitted net that repeats its recorded steps, and records nothing.

    Of the callbacks it has those that act on gradients: clipping changes a step, the others
    only watch it or set rates, which are recorded.
    """
    twin = _independent_copy(net, acting_on_gradients(net.callbacks_), dtype)
    twin.perturbation = net.trajectory_.perturbation
    twin._sample_weight = sample_weight
    twin._flat = FlatModule(twin.module_)
    return twin


def _independent_copy(net, callbacks, dtype=None):
    """A copy with a module, criterion, callbacks, history and a new optimizer of its own."""
    twin = shallow_copy(net)
    twin.module_ = bare_copy(net.module_)
    twin.criterion_ = copy.deepcopy(net.criterion_)
    twin.callbacks_ = copy.deepcopy(callbacks)
    twin.history_ = copy.deepcopy(net.history_)  # callbacks write into it
    if dtype is not None:
        twin.module_.to(getattr(torch, dtype))
        twin.criterion_.to(getattr(torch, dtype))
    twin.initialize_optimizer()
    prepare_twin(twin)
    return twin
