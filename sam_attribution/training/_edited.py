"""A fitted net with other weights."""

import copy

from sam_attribution.training._accelerated import bare_copy, prepare_twin
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._trajectory import Trajectory


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
    twin = object.__new__(type(net))
    trajectory = Trajectory(None, net.trajectory_.seed)
    trajectory.mark_broken(reason)
    vars(twin).update(
        vars(net),
        module_=bare_copy(net.module_),
        trajectory_=trajectory,
        trajectory_dir=None,
        _on_disk=None,
    )
    flat = FlatModule(twin.module_)
    flat.write(params.to(flat.vector()))
    flat.write_buffers(flat.copy_of_buffers() | buffers)
    twin.callbacks_ = copy.deepcopy(net.callbacks_)
    twin.history_ = copy.copy(net.history_)  # rows are appended, never changed
    twin.criterion_ = copy.deepcopy(net.criterion_)
    twin.initialize_optimizer()
    prepare_twin(twin)
    return twin
