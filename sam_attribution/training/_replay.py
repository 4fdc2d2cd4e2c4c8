"""Replay of a recorded training, by the same training step on a copy of the net."""

from dataclasses import replace

import torch

from sam_attribution._row_source import RowSource
from sam_attribution._turns import usual_modes
from sam_attribution._warnings import warn
from sam_attribution.training._accelerated import set_loss_scale
from sam_attribution.training._copies import replaying_copy
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._epochs import ends_of_epochs, epoch_of
from sam_attribution.training._flat_module import put_state, take_state
from sam_attribution.training._random import isolated_random_state
from sam_attribution.training._trajectory import Trajectory

# Distance of another run, in parts of the weights and of the way since the last known state
_OF_SIZE, _OF_WAY = 1e-3, 1e-2
# Distance by rounding, in eps of the same
_ROUNDING_OF_SIZE, _ROUNDING_OF_WAY = 10, 1000
_CAUSES = (
    "training depended on more than rows and seed, such as random augmentation or a forward pass "
    "that draws from NumPy's or Python's random stream"
)


class OtherRun(ValueError):
    """Replay does not reach a recorded state: it repeats another run."""


class Replay:
    """Repetition of a net's recorded steps on a copy; the net itself does not change.

    The data are those that ``net.as_trained`` returns. With `exact`, a recorded state must be
    reached bit for bit; without it, one that is reached up to more than rounding warns once, and
    another run raises. With a `dtype`, the precision of the repeated steps, the run starts from
    the first state and is compared with no recorded one.
    """

    def __init__(self, net, X, codes, sample_weight, *, exact=False, dtype=None):
        self._recorded = net.trajectory_
        self._net = replaying_copy(net, _cast(sample_weight, dtype), dtype)
        self._rows = indexed_rows(net, _cast(X, dtype), codes)
        self._ends = ends_of_epochs(net.history)
        self._another_run = dtype is not None
        known = [] if self._another_run else self._recorded.states
        self._known = {state.step: state for state in known}
        self._exact = exact
        self._warned = False

    @property
    def n_steps(self):
        """Number of recorded steps."""
        return self._recorded.n_steps

    @property
    def kept_steps(self):
        """Set of the steps whose states need not be computed."""
        return set(self._known) or {0}

    def states(self, start, stop, origin=None, *, whole=False):
        """Yield the states from `start` to `stop`, each before the step of its number.

        `origin` is a state at or before `start` to begin from; by default it is the nearest
        recorded one, and with `dtype` the first, because the others are of another run. A single
        recorded state is yielded as it is, wherever it is stored; with `whole` it is repeated if
        it has no optimizer's memory.
        """
        known = self._known.get(start) if start == stop else None
        if known is not None and (known.is_whole or not whole):
            yield known
            return
        net, recorded = self._net, self._recorded
        state = origin or recorded.nearest(0 if self._another_run else start)
        put_state(net, net._flat, state)
        net.trajectory_ = Trajectory(None, recorded.seed)
        net.trajectory_.schedule = recorded.schedule[: state.step]  # a step knows its number
        since = state.params
        for number in range(state.step, stop + 1):
            if number in self._known:
                since = self._meet(self._known[number], since)
            if number >= start:
                yield take_state(net, net._flat, number)
            if number < stop:
                self._repeat_step(number)

    def _meet(self, state, since):
        """Continue from a recorded state; raise if replay has not reached it.

        `since` are the parameters of the known state before it. Return those of `state`.
        """
        params = self._net._flat.vector()
        recorded = state.params.to(params)  # a stored state is on the CPU
        way = (recorded - since.to(params)).norm()
        self._check_distance(state.step, (params - recorded).norm(), recorded.norm(), way)
        put_state(self._net, self._net._flat, state)
        return recorded

    def _check_distance(self, step, distance, size, way):
        """Raise, or warn once, if replay is so far from the state recorded at a step.

        `size` is the length of the weights, `way` what training had moved them by.
        """
        eps = torch.finfo(distance.dtype).eps
        rounding = eps * (_ROUNDING_OF_SIZE * size + _ROUNDING_OF_WAY * way)
        if not distance <= torch.minimum(_OF_SIZE * size, _OF_WAY * way + rounding):
            raise OtherRun(
                f"Replay is {distance:.1e} away from the state recorded at step {step}: "
                f"{_CAUSES}. Use a method that needs recorded states only."
            )
        if self._exact and distance > 0:
            raise OtherRun(
                f"Replay is not deterministic: it is {distance:.1e} away from the state recorded "
                f"at step {step}, not equal to it. Use as many threads as in training "
                "(torch.set_num_threads) and deterministic kernels "
                "(torch.use_deterministic_algorithms), or train with trajectory='all'."
            )
        if distance > rounding and not self._warned:
            self._warned = True
            warn(
                f"Replay is {distance:.1e} away from the state recorded at step {step}, where "
                f"training had moved by {way:.1e} since the last one: {_CAUSES}, or it amplifies "
                "rounding errors. The states in between are as inexact. For scores of recorded "
                "states alone use n_checkpoints='recorded'."
            )

    def _repeat_step(self, number):
        step = self._recorded.schedule[number]
        self._rows.set_epoch(epoch_of(number, self._ends))
        with usual_modes():
            batch = self._rows.batch(step.indices).to(self._net.module_device)
        repeat_step(self._net, step, batch, self._recorded.seed)


def indexed_rows(net, X, codes):
    """The rows of a training as its batches read them, an :class:`IndexedDataset`."""
    collate = net.get_params_for("iterator_train").get("collate_fn")
    return IndexedDataset(net.get_dataset(X, codes), collate)


def repeat_step(net, step, batch, seed):
    """Let a copy of a net take a step with the recorded rates and settings; return loss and output.

    Empty rates leave the settings of the optimizer as they are.
    """
    net.rho, net.m_sharpness = step.rho, step.m_sharpness
    set_loss_scale(net, step.loss_scale)
    groups = net.optimizer_.param_groups if step.rates else ()
    for group, rate, values in zip(groups, step.rates, step.settings, strict=True):
        group.update(values, lr=rate)
    before = take_state(net, net._flat, net.trajectory_.n_steps) if step.skipped else None
    with isolated_random_state(seed, net.module_device):
        found = net.train_step(batch)
    if before is not None:
        # a skipped step changed the batch-norm statistics and nothing else
        buffers = net._flat.copy_of_buffers()
        put_state(net, net._flat, replace(before, buffers=buffers))
    return found


def _cast(values, dtype):
    """Floating-point values in another precision; whole numbers, and None, as they are."""
    if dtype is None or values is None:
        return values
    if isinstance(values, RowSource):
        return values.to_dtype(getattr(torch, dtype))
    if torch.is_tensor(values):
        return values.to(getattr(torch, dtype)) if values.is_floating_point() else values
    return values.astype(dtype) if values.dtype.kind == "f" else values
