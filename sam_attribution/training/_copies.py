"""Copies of a fitted net."""

import copy

import torch

from sam_attribution.training._accelerated import bare_copy, prepare_copy
from sam_attribution.training._callbacks import acting_on_gradients
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._parameter_groups import take_groups
from sam_attribution.training._trajectory import Trajectory


def shallow_copy(net):
    """A net whose attributes are the same objects; ``copy.copy`` would pickle them."""
    other = object.__new__(type(net))
    vars(other).update(vars(net))
    return other


def edited_copy(net, params, buffers, reason):
    """A copy of a fitted net with flat `params`, some new `buffers`, and no recorded training.

    Replaying its training raises an error with the `reason` for the change. The copy has a new
    optimizer and no `trajectory_dir`, so that the recorded run of `net` is not overwritten.
    """
    other = _independent_copy(net, net.callbacks_)
    flat = FlatModule(other.module_)
    flat.write(params.to(flat.vector()))
    flat.write_buffers(flat.copy_of_buffers() | buffers)
    other.trajectory_ = Trajectory(None, net.trajectory_.seed)
    other.trajectory_.mark_broken(reason)
    other.trajectory_dir = other._on_disk = other._folder_of_run = None
    return other


def replaying_copy(net, sample_weight, dtype=None, optimizer=None):
    """A copy of a fitted net for repeating its recorded steps; it records nothing.

    `optimizer` makes another one than the net's from a list of parameters.

    It keeps the callbacks that act on gradients, such as clipping. The others only watch a step
    or set rates, which are recorded.
    """
    other = _independent_copy(net, acting_on_gradients(net.callbacks_), dtype, optimizer)
    other.perturbation = net.trajectory_.perturbation
    other._sample_weight = sample_weight
    other._flat = FlatModule(other.module_)
    return other


def _independent_copy(net, callbacks, dtype=None, optimizer=None):
    """A copy that owns its module, criterion, callbacks and history, with a new optimizer."""
    other = shallow_copy(net)
    other.module_ = bare_copy(net.module_)
    other.criterion_ = copy.deepcopy(net.criterion_)
    other.callbacks_ = copy.deepcopy(callbacks)
    other.history_ = copy.deepcopy(net.history_)  # callbacks write into it
    if dtype is not None:
        other.module_.to(getattr(torch, dtype))
        other.criterion_.to(getattr(torch, dtype))
    if optimizer is not None:
        other.optimizer = _from_parameters(optimizer)
    other.initialize_optimizer()
    take_groups(net, other)
    prepare_copy(other)
    return other


def _from_parameters(optimizer):
    """A factory that skorch calls with groups and settings, of which the parameters are used."""

    def make(groups, **settings):
        return optimizer([p for group in groups for p in group["params"]])

    return make
