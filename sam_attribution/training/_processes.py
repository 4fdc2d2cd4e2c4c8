"""Training in the processes that accelerate starts: one run, of which all have the same record.

DistributedDataParallel averages the gradients of both passes of a step, so that all processes climb
by the same eps and stay at the same weights. Each knows only its own rows and losses; here they
tell each other.
"""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from torch import distributed, nn

_PARALLEL = nn.parallel.DistributedDataParallel


def n_processes(net):
    """Number of processes that train a net together."""
    return getattr(_accelerator(net), "num_processes", 1)


def is_main(net):
    """True in the process that writes files."""
    return getattr(_accelerator(net), "is_main_process", True)


def check_processes(net):
    """Raise a ValueError if processes would train apart from each other, or not by SAM."""
    if n_processes(net) == 1:
        return
    if not isinstance(_uncompiled(net.module_), _PARALLEL):
        raise ValueError(
            f"accelerator has {n_processes(net)} processes, but module_ is not in "
            "DistributedDataParallel, which averages the gradients of both passes of SAM. Train "
            "without FSDP and DeepSpeed; to go on by partial_fit or warm_start, construct the net "
            "with unwrap_after_train=False."
        )
    if getattr(net, "m_sharpness", None) is not None:
        raise ValueError(
            f"m_sharpness={net.m_sharpness} is supported in one process only: in several, parts "
            "of different processes would share a perturbation. Set m_sharpness=None, or train "
            "in one."
        )


def check_alone(net):
    """Raise a ValueError for a net of several processes, where one is asked for."""
    if n_processes(net) > 1:
        raise ValueError(
            f"accelerator has {n_processes(net)} processes, and resume reads a run in one. Call it "
            "in a program that torchrun or accelerate launch did not start."
        )


def of_main(net, value):
    """The value that the main process has."""
    if n_processes(net) == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def share_buffers(net):
    """Copy the buffers of the main process, as the next forward pass in training does anyway."""
    if n_processes(net) > 1 and _uncompiled(net.module_).broadcast_buffers:
        for buffer in net.module_.buffers():
            distributed.broadcast(buffer, src=0)


@contextmanager
def shared_epoch(net, iterator, prefix):
    """Context of an epoch, after which each process knows the rows and losses of all.

    A ValueError if the processes have different numbers of batches: one would wait for ever. The
    loss of a batch in ``history``, at `prefix`, is then the mean over the processes, and so
    callbacks that go by it decide alike. Buffers are those of the main process.
    """
    if n_processes(net) == 1:
        yield
        return
    _check_lengths(iterator)
    trajectory = net.trajectory_
    first = trajectory.n_steps
    try:
        yield
    except BaseException:
        if trajectory.n_steps > first:
            trajectory.mark_broken(
                "training in several processes ended within an epoch, so the rows of the other "
                "processes are not known"
            )
        raise
    _share_losses(net.history[-1]["batches"], f"{prefix}_loss")
    trajectory.schedule[first:] = _joined(trajectory.schedule[first:])
    share_buffers(net)


@contextmanager
def only_trained_criteria(net):
    """Context in which accelerate prepares no criterion without parameters, in several processes.

    It would wrap it in DistributedDataParallel, which refuses a module that has nothing to train.
    """
    criteria = net._criteria
    if n_processes(net) > 1:
        bare = [name for name in criteria if _has_nothing_to_train(getattr(net, name + "_"))]
        for name in bare:
            getattr(net, name + "_").to(_accelerator(net).device)
        net._criteria = [name for name in criteria if name not in bare]
    try:
        yield
    finally:
        net._criteria = criteria


def _uncompiled(module):
    return getattr(module, "_orig_mod", module)


def _check_lengths(iterator):
    lengths = _gathered(len(iterator) if hasattr(iterator, "__len__") else None)
    if len(set(lengths)) > 1:
        raise ValueError(
            f"the processes have {' and '.join(map(str, lengths))} batches of an epoch, but they "
            f"step together. Choose a batch_size that gives a multiple of {len(lengths)} batches, "
            "or leave even_batches of the accelerator at True (accelerate 1.14 or newer)."
        )


def _share_losses(batches, name):
    """Replace the losses of batches by the means over the processes."""
    of_all = _gathered([batch.get(name) for batch in batches])
    for number, batch in enumerate(batches):
        losses = [losses[number] for losses in of_all if number < len(losses)]
        if None not in losses:
            batch[name] = float(np.mean(losses))


def _joined(steps):
    """The steps with the rows of all processes, one after the other."""
    shares = zip(*_gathered([step.indices for step in steps]), strict=True)
    return [
        step if any(rows is None for rows in share) else _with_rows(step, share)
        for step, share in zip(steps, shares, strict=True)
    ]


def _with_rows(step, share):
    sizes = tuple(len(rows) for rows in share)
    return replace(step, indices=np.concatenate(share), per_process=sizes)


def _gathered(value):
    """The values of all processes, in their order."""
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def _has_nothing_to_train(criterion):
    """True for a module whose parameters, if it has any, are frozen."""
    return isinstance(criterion, nn.Module) and not any(
        p.requires_grad for p in criterion.parameters()
    )


def _accelerator(net):
    return getattr(net, "accelerator", None)
