"""Replay of a recorded training, by the same training step on a copy of the net."""

from dataclasses import replace

import torch

from sam_attribution._row_source import RowSource
from sam_attribution.training._accelerated import set_loss_scale
from sam_attribution.training._copies import replaying_copy
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._epochs import ends_of_epochs, epoch_of
from sam_attribution.training._flat_module import put_state, take_state
from sam_attribution.training._random import isolated_random_state
from sam_attribution.training._trajectory import Trajectory

_TOLERANCE = 1e-3


class Replay:
    """Repetition of a net's recorded steps on a copy; the net itself does not change.

    The data are those that ``net.as_trained`` returns. With `exact`, a recorded state must be
    reached bit for bit, not only nearly. With a `dtype`, the precision of the repeated steps, the
    run starts from the first state and is compared with no recorded one.
    """

    def __init__(self, net, X, codes, sample_weight, *, exact=False, dtype=None):
        self._recorded = net.trajectory_
        self._net = replaying_copy(net, _cast(sample_weight, dtype), dtype)
        dataset = net.get_dataset(_cast(X, dtype), codes)
        collate = net.get_params_for("iterator_train").get("collate_fn")
        self._rows = IndexedDataset(dataset, collate)
        self._ends = ends_of_epochs(net.history)
        self._another_run = dtype is not None
        known = [] if self._another_run else self._recorded.states
        self._known = {state.step: state for state in known}
        self._exact = exact

    @property
    def n_steps(self):
        """Number of recorded steps."""
        return self._recorded.n_steps

    @property
    def kept_steps(self):
        """Set of the steps whose states need not be computed."""
        return set(self._known) or {0}

    def states(self, start, stop, origin=None):
        """Yield the states from `start` to `stop`, each before the step of its number.

        `origin` is a state at or before `start` to begin from; by default it is the nearest
        recorded one, and with `dtype` the first, because the others are of another run.
        """
        net, recorded = self._net, self._recorded
        state = origin or recorded.nearest(0 if self._another_run else start)
        put_state(net, net._flat, state)
        net.trajectory_ = Trajectory(None, recorded.seed)
        net.trajectory_.schedule = recorded.schedule[: state.step]  # a step knows its number
        for number in range(state.step, stop + 1):
            if number in self._known:
                self._meet(self._known[number])
            if number >= start:
                yield take_state(net, net._flat, number)
            if number < stop:
                self._repeat_step(number)

    def _meet(self, state):
        """Continue from a recorded state; raise if replay has not reached it."""
        net = self._net
        params = net._flat.vector()
        recorded = state.params.to(params)  # a stored state is on the CPU
        distance = (params - recorded).norm()
        if distance > _TOLERANCE * recorded.norm():
            raise ValueError(
                f"Replay is {distance:.1e} away from the state recorded at step {state.step}: "
                "training depended on more than rows and seed, such as random augmentation. "
                "Take a method that needs recorded states only."
            )
        if self._exact and not torch.equal(params, recorded):
            raise ValueError(
                f"Replay is not deterministic: it is {distance:.1e} away from the state recorded "
                f"at step {state.step}, not equal to it. Take as many threads as in training "
                "(torch.set_num_threads) and deterministic kernels "
                "(torch.use_deterministic_algorithms), or train with trajectory='all'."
            )
        put_state(net, net._flat, state)

    def _repeat_step(self, number):
        net, step = self._net, self._recorded.schedule[number]
        net.rho = step.rho
        set_loss_scale(net, step.loss_scale)
        groups = net.optimizer_.param_groups
        for group, rate, values in zip(groups, step.rates, step.settings, strict=True):
            group.update(values, lr=rate)
        before = take_state(net, net._flat, number) if step.skipped else None
        self._rows.set_epoch(epoch_of(number, self._ends))
        with isolated_random_state(self._recorded.seed, net.module_device):
            net.train_step(self._rows.batch(step.indices).to(net.module_device))
        if before is not None:
            # a skipped step changed the batch-norm statistics and nothing else
            buffers = net._flat.copy_of_buffers()
            put_state(net, net._flat, replace(before, buffers=buffers))


def _cast(values, dtype):
    """Floating-point values in another precision; whole numbers, and None, as they are."""
    if dtype is None or values is None:
        return values
    if isinstance(values, RowSource):
        return values.to_dtype(getattr(torch, dtype))
    if torch.is_tensor(values):
        return values.to(getattr(torch, dtype)) if values.is_floating_point() else values
    return values.astype(dtype) if values.dtype.kind == "f" else values
