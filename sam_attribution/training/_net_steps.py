"""The training steps of a net itself, taken again with other row weights."""

from itertools import pairwise

import numpy as np
from skorch.history import History

from sam_attribution.training._copies import replaying_copy
from sam_attribution.training._flat_module import put_state
from sam_attribution.training._own_steps import step_passed_by
from sam_attribution.training._random import isolated_random_state
from sam_attribution.training._replay import indexed_rows, repeat_step
from sam_attribution.training._row_weights import RowWeights
from sam_attribution.training._trajectory import Trajectory


class NetSteps:
    """A run of training steps by copies of a fitted net, which itself does not change.

    Every copy takes the steps by the net's own ``train_step``: its optimizer, its callbacks on
    gradients, its precision. It sees the epochs and batches of a training in its history.

    Parameters
    ----------
    net : SAMClassifier or SAMRegressor
    data : tuple
        What ``net.as_trained`` returns.
    start : State
        Where all copies start; an `optimizer` of None is a new one without memory.
    schedule : list of Step
        Rows, rates and rho of every step. Empty rates leave the optimizer's settings alone.
    first : int, default=0
        Number of the step that is taken first, from `start`. The net's own history tells the
        epochs before it.
    seed : int
        Fixes, with the number of a step, its dropout masks.
    ends_of_epochs : sequence of int
        Numbers of the steps at which epochs end.
    optimizer : callable, default=None
        Makes another optimizer than the net's from a list of parameters.
    perturbation : object, default=None
        Another one than that of the training.
    read_epoch : int, default=None
        Epoch as in which a Dataset with random transforms is read; by default each as it comes.
    """

    def __init__(
        self, net, data, *, start, schedule, seed, ends_of_epochs, first=0, optimizer=None,
        perturbation=None, read_epoch=None,
    ):  # fmt: skip
        self._net = net
        self._data = data
        self._start = start
        self._schedule = schedule
        self._first = first
        self._seed = seed
        edges = [0, *(int(end) for end in ends_of_epochs if 0 < end < len(schedule))]
        self._epochs = [range(*edge) for edge in pairwise([*edges, len(schedule)])]
        self._optimizer = optimizer
        self._perturbation = perturbation
        self._read_epoch = read_epoch

    @property
    def n_steps(self):
        """Number of steps that are taken."""
        return len(self._schedule) - self._first

    def states(self, row_weights, at):
        """Yield parameters and buffers of a copy before each of the steps `at`, ascending.

        The first step that is taken counts as 0. The rows of the copy have `row_weights`
        (n_samples,) in every batch; denominators stay as they are.
        """
        net = self._copy(row_weights)
        rows = indexed_rows(net, *self._data[:2])
        dataset = {"dataset_train": rows.dataset, "dataset_valid": None}
        wanted, stop = {self._first + number for number in at}, self._first + at[-1]
        _notify(net, "on_train_begin", X=self._data[0], y=self._data[1])
        for number_of_epoch, epoch in enumerate(self._epochs):
            if epoch.stop <= self._first:
                continue
            if epoch.start >= stop:
                break
            start = max(epoch.start, self._first)
            rows.set_epoch(number_of_epoch if self._read_epoch is None else self._read_epoch)
            _notify(net, "on_epoch_begin", **dataset)
            self._tell_batches(net, number_of_epoch, start - epoch.start)
            for number in range(start, min(epoch.stop, stop)):
                if number in wanted:
                    yield _state(net)
                self._take(net, rows, number)
            _notify(net, "on_epoch_end", **dataset)
        yield _state(net)

    def _copy(self, row_weights):
        net = replaying_copy(self._net, self._data[2], optimizer=self._optimizer)
        if self._perturbation is not None:
            net.perturbation = self._perturbation
        put_state(net, net._flat, self._start)
        net.trajectory_ = Trajectory(None, self._seed)
        net.trajectory_.schedule = list(self._schedule[: self._first])  # a step knows its number
        past = sum(epoch.stop <= self._first for epoch in self._epochs)
        net.history_ = History(net.history[:past] if self._first else ())
        net._row_weights = RowWeights(row_weights)
        for _, callback in net.callbacks_:
            callback.initialize()
        return net

    def _tell_batches(self, net, epoch, n_batches):
        """Put the recorded batches of an epoch, which are not taken again, into the history."""
        if n_batches:
            net.history[-1]["batches"] = self._net.history[epoch]["batches"][:n_batches]

    def _take(self, net, rows, number):
        step = self._schedule[number]
        batch = rows.batch(np.asarray(step.indices)).to(net.module_device)
        _notify(net, "on_batch_begin", batch=batch, training=True)
        n_steps = net.trajectory_.n_steps
        loss = repeat_step(net, step, batch, self._seed)["loss"]
        if net.trajectory_.n_steps == n_steps:
            raise step_passed_by(net)
        if net._row_weights.unread:
            raise ValueError(
                f"{type(net).__name__} computes the loss of a batch without the get_loss of "
                f"{_package_class(net)}, so the loss without a row is not known. Call "
                "super().get_loss(...) for the loss."
            )
        net.history.record_batch("train_loss", loss.item())
        net.history.record_batch("train_batch_size", len(step.indices))
        _notify(net, "on_batch_end", batch=batch, training=True)


def _package_class(net):
    """Name of the nearest class of this package that a net extends."""
    names = (c.__name__ for c in type(net).__mro__ if c.__module__.startswith("sam_attribution."))
    return next(names)


def _state(net):
    return net._flat.vector(), net._flat.copy_of_buffers()


def _notify(net, event, **arguments):
    """Tell a copy, and its callbacks on gradients, of an event of training; nothing is stored."""
    with isolated_random_state(0, net.module_device):
        for each in (net, *(callback for _, callback in net.callbacks_)):
            getattr(each, event)(net, **arguments)
