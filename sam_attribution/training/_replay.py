"""Recorded training once more, with the real training step on a twin of the net."""

from dataclasses import replace

import torch

from sam_attribution.training._accelerated import set_loss_scale
from sam_attribution.training._copies import replaying_copy
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._flat_module import put_state, take_state
from sam_attribution.training._random import isolated_random_state
from sam_attribution.training._trajectory import Trajectory

_TOLERANCE = 1e-3


class Replay:
    """A twin of a net that goes through the net's recorded steps; the net stays as it is.

    Parameters
    ----------
    net : RecordingMixin
        Fitted.
    X, codes, sample_weight
        The training data, as ``net.as_trained`` returns them.
    exact : bool, default=False
        Whether a recorded state that is met must be equal bit for bit, not only near.
    dtype : {"float32", "float64"}, optional
        Repeat the steps in this precision: another run from the same start, which is compared
        with no recorded state. By default the net's own.
    """

    def __init__(self, net, X, codes, sample_weight, *, exact=False, dtype=None):
        self._recorded = net.trajectory_
        self._twin = replaying_copy(net, _cast(sample_weight, dtype), dtype)
        dataset = net.get_dataset(_cast(X, dtype), codes)
        collate = net.get_params_for("iterator_train").get("collate_fn")
        self._rows = IndexedDataset(dataset, collate)
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
        """Steps whose states need not be computed, as a set."""
        return set(self._known) or {0}

    def states(self, start, stop, origin=None):
        """Yield the states from `start` to `stop`, each before the step of its number.

        `origin` is a state at or before `start` to set out from; by default the nearest that
        was recorded, and with `dtype` the first: the others are of another run.
        """
        twin, recorded = self._twin, self._recorded
        state = origin or recorded.nearest(0 if self._another_run else start)
        put_state(twin, twin._flat, state)
        twin.trajectory_ = Trajectory(None, recorded.seed)
        twin.trajectory_.schedule = recorded.schedule[: state.step]  # a step knows its number
        for number in range(state.step, stop + 1):
            if number in self._known:
                self._meet(self._known[number])
            if number >= start:
                yield take_state(twin, twin._flat, number)
            if number < stop:
                self._repeat_step(number)

    def _meet(self, state):
        """Take over a recorded state, which replay must have come near to."""
        twin = self._twin
        params = twin._flat.vector()
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
        put_state(twin, twin._flat, state)

    def _repeat_step(self, number):
        twin, step = self._twin, self._recorded.schedule[number]
        twin.rho = step.rho
        set_loss_scale(twin, step.loss_scale)
        _put_settings(twin.optimizer_, step)
        before = take_state(twin, twin._flat, number) if step.skipped else None
        with isolated_random_state(self._recorded.seed, twin.module_device):
            twin.train_step(self._rows.batch(step.indices).to(twin.module_device))
        if before is not None:
            # a skipped step changed the batch-norm statistics and nothing else
            buffers = twin._flat.copy_of_buffers()
            put_state(twin, twin._flat, replace(before, buffers=buffers))


def _put_settings(optimizer, step):
    """Give each parameter group the rate and the settings that it had in a recorded step."""
    for group, rate, values in zip(optimizer.param_groups, step.rates, step.settings, strict=True):
        group.update(values, lr=rate)


def _cast(values, dtype):
    """Floating-point values in another width; whole numbers, and None, as they are."""
    if dtype is None or values is None:
        return values
    if torch.is_tensor(values):
        return values.to(getattr(torch, dtype)) if values.is_floating_point() else values
    return values.astype(dtype) if values.dtype.kind == "f" else values
