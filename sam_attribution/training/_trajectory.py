"""Record of a training run: its schedule and some of its states, never the data."""

import copy
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from sam_attribution._fingerprint import fingerprint, fingerprint_or_none
from sam_attribution._summary import summary, summary_of
from sam_attribution._validation import num_samples

# "auto" keeps every state of a run whose states take no more bytes than this, else so many
ALL_WITHIN = 512 * 2**20
N_OTHERWISE = 10
# Growth of the rate from one step to the next up to which weights alone tell SGD's momentum
_RATE_GROWTH = 4


@dataclass(frozen=True)
class Step:
    """One training step: its rows, its rate per parameter group, its perturbation.

    `settings` are the other settings of the optimizer, a dict per parameter group; steps between
    which nothing changed share one object.

    A GradScaler multiplies the loss by `loss_scale`; a step is `skipped` if half precision
    overflowed, and then changes neither parameters nor optimizer. Callbacks (clipping) multiplied
    the gradient by `gradient_factor`, which is NaN if they changed it in another way; `changed_by`
    holds the classes of those that did other than by clipping the norm. The optimizer did not
    change the parameters `without_gradient`.

    With `m_sharpness` parts of at most as many rows had their own perturbation, see
    ``part_slices``, and `perturbation_norm` is the mean over the parts. In several processes
    `indices` are the rows of all, one process after the other, and `per_process` are their numbers
    of rows. The gradient was the mean of those of the processes.
    """

    indices: np.ndarray
    rates: tuple[float, ...]
    perturbation_norm: float
    rho: float = 0.0
    skipped: bool = False
    loss_scale: float = 1.0
    gradient_factor: float = 1.0
    settings: tuple[dict, ...] = ()
    changed_by: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
    m_sharpness: int | None = None
    per_process: tuple[int, ...] = ()

    def __repr__(self):
        rates = ", ".join(f"{rate:g}" for rate in self.rates)
        skipped = ", skipped" if self.skipped else ""
        return f"Step({len(self.indices)} rows, rate={rates}, rho={self.rho:g}{skipped})"


@dataclass(frozen=True)
class State:
    """What training changes, as it was before step number `step`.

    The `optimizer` is None where its memory was not kept.
    """

    step: int
    params: torch.Tensor
    buffers: dict[str, torch.Tensor]
    optimizer: dict | None

    def __repr__(self):
        memory = "with" if self.is_whole else "without"
        n_params, n_buffers = self.params.numel(), len(self.buffers)
        return (
            f"State(step={self.step}, {n_params} parameters, {n_buffers} buffers, {memory} the "
            "optimizer's memory)"
        )

    @property
    def is_whole(self):
        """True if steps can be repeated from this state."""
        return self.optimizer is not None


@dataclass(frozen=True)
class Stretch:
    """Steps ``first`` up to, not including, ``last``, represented by the state at ``middle``."""

    first: int
    middle: int
    last: int


def equal_stretches(first, last, n_stretches):
    """Stretches of equal length that cover steps ``first..last`` (fewer if steps are few)."""
    n_stretches = min(n_stretches, last - first)
    edges = np.linspace(first, last, n_stretches + 1).round().astype(int).tolist()
    return [Stretch(a, (a + b) // 2, b) for a, b in pairwise(edges)]


def starts_of_the_end(n_steps, middles):
    """Steps before the last tenth and the last twentieth of a run, whose states edits begin from.

    Without those next to one of the `middles`, whose states are kept in any case.
    """
    starts = {n_steps - n_steps // part for part in (10, 20)} - {n_steps}
    return {step for step in starts if not {step - 1, step} & middles}


@dataclass(frozen=True)
class DataFingerprint:
    """Hashes of the parts of the training data, so that an error names the part that differs."""

    n_samples: int
    X: str | None
    y: str | None
    sample_weight: str | None

    __repr__ = summary

    @classmethod
    def of(cls, X, y, sample_weight=None):
        """Fingerprint of validated data; of a Dataset its class, its length and a few rows."""
        return cls(num_samples(X), *(_content_hash(part) for part in (X, y, sample_weight)))

    def differences(self, other):
        """Names of the parts that are not the same in `other`."""
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def check_same(self, given, said, source="fit"):
        """Raise a ValueError if `given` are other data than those given to `source`.

        The message begins with `said` and names what differs.
        """
        if changed := self.differences(given):
            raise ValueError(
                f"{said} other data: {self._what_differs(given, changed)} Pass the rows given to "
                f"{source}, in the same order and form (array, dict, Dataset)."
            )

    def _what_differs(self, given, changed):
        if self.n_samples == given.n_samples:
            return f"{', '.join(changed)} {'differs' if len(changed) == 1 else 'differ'}."
        n_rows = f"{self.n_samples} rows then, {given.n_samples} now."
        if self.n_samples > given.n_samples:
            return n_rows
        return (
            f"{n_rows} Leave out rows that were held out of the training, by validation= or "
            "train_test_split."
        )


def _content(perturbation):
    """Hashes of a perturbation's settings, and of all its attributes."""
    attributes = getattr(perturbation, "__dict__", None)
    return fingerprint_or_none(perturbation), fingerprint_or_none(attributes)


def _evaluating(criterion):
    """Hash of a criterion in evaluation mode."""
    is_module = isinstance(criterion, nn.Module)
    return fingerprint_or_none(copy.deepcopy(criterion).eval() if is_module else criterion)


def _content_hash(data):
    return None if data is None else fingerprint(data)


class Trajectory:
    """Record of one training run: its schedule and the states that were to be kept.

    Parameters
    ----------
    keep : int, "all", "auto" or None
        ``K`` keeps the first and the last state and K in between, each in the middle of one of
        K equal stretches of the planned steps, and those before their last tenth and twentieth.
        ``"auto"`` becomes ``"all"`` where all states fit into 512 MiB, once the number of steps is
        known; else ``"weights"`` where all weights do and are enough: every state, but those that
        10 would not keep without the optimizer's memory, so that no step is repeated from them;
        else 10. A run with ``"weights"`` that needs more memories than fit goes on with 10. The
        schedule is always kept.
    seed : int
        Fixes batch order and, with the number of a step, its dropout masks.

    Attributes
    ----------
    schedule : list of Step
    states : list of State
        In the order of their steps.
    stretches : list of Stretch
        They cover all steps; none unless `keep` is a number.
    fingerprint : DataFingerprint
        Hashes of the training data.
    broken : str or None
        Reason why this run cannot be replayed, if there is one.
    moved_by : dict of str to int
        Names of callbacks (or of what else) that changed weights outside of a step, with the
        number of steps taken before the last such change.
    """

    _is_auto = False
    _memories_left = 0  # that fit the limit beside all weights

    def __init__(self, keep, seed):
        self.keep = keep
        self._is_auto = keep == "auto"
        self.seed = seed
        self.schedule = []
        self.states = []
        self.stretches = []
        self.fingerprint = None
        self.perturbation = None
        self.names = None
        self.criterion = None
        self.broken = None
        self.moved_by = {}

    def __repr__(self):
        found = {"steps": self.n_steps, "states": len(self.states), "keep": self.keep}
        broken = {"broken": self.broken} if self.broken else {}
        return summary_of(type(self).__name__, found | {"seed": self.seed} | broken)

    @property
    def n_steps(self):
        """Number of training steps taken."""
        return len(self.schedule)

    @property
    def n_processes(self):
        """Largest number of processes that took a step together."""
        return max([1, *(len(step.per_process) for step in self.schedule)])

    def begin(self, data, perturbation):
        """Note data and perturbation; mark the run broken if they changed since it began."""
        if self.fingerprint is None:
            self.fingerprint, self.perturbation = data, perturbation
        elif changed := self.fingerprint.differences(data):
            self.mark_broken(f"partial_fit continued with other data ({', '.join(changed)})")
        else:
            self.check_perturbation(perturbation)

    def check_perturbation(self, perturbation):
        """Mark the run broken if the perturbation is not the one that it began with."""
        if _content(perturbation) != _content(self.perturbation):
            self.mark_broken(
                f"the perturbation changed to {perturbation!r}; its eps(w, g, rho) has to depend "
                "on w, g and rho alone"
            )

    def note_names(self, names):
        """Note which parameters are trained; mark the run broken if this changed."""
        self.names = self.names or names
        if names != self.names:
            self.mark_broken("parameters were frozen or unfrozen during training")

    def note_criterion(self, criterion):
        """Note the criterion trained with; mark the run broken if it was replaced on the way."""
        if self.criterion is not None and not self.is_criterion(criterion):
            self.mark_broken("the criterion was replaced during training")
        self.criterion = criterion

    def is_criterion(self, criterion):
        """True for the criterion trained with, for one that equals it, and if none is known."""
        known = self.criterion
        if known is None or known is criterion:
            return True
        return _evaluating(known) == _evaluating(criterion)

    def settle(self, n_steps, state_bytes, weight_bytes=None):
        """Choose what "auto" keeps, before `n_steps` more steps with states of so many bytes.

        `weight_bytes` are those without the optimizer's memory, None where that is needed. Without
        a number of steps it is ten states. A run that goes on and would outgrow the limit with
        what it kept so far keeps less of what comes, but still what 10 keeps, of every call: many
        calls of ``partial_fit`` go beyond the limit.
        """
        if self._is_auto and self.keep != N_OTHERWISE:
            kept = self.keep
            self.keep = self._fitting(n_steps, state_bytes, weight_bytes)
            if kept == "all" != self.keep:
                self.stretches = equal_stretches(0, self.n_steps, N_OTHERWISE)

    def _fitting(self, n_steps, state_bytes, weight_bytes):
        """The most that fits the limit."""
        if n_steps is None:
            return N_OTHERWISE
        so_far = sum(state_bytes if s.is_whole else weight_bytes or 0 for s in self.states)
        coming = n_steps + 1
        if self.keep != "weights" and so_far + coming * state_bytes <= ALL_WITHIN:
            return "all"
        if weight_bytes is None:
            return N_OTHERWISE
        # with both ends, the last tenth and the last twentieth
        n_whole = N_OTHERWISE + 4
        left = ALL_WITHIN - so_far - coming * weight_bytes
        if left < n_whole * state_bytes:
            return N_OTHERWISE
        self._memories_left = left // max(1, state_bytes - weight_bytes) - n_whole
        return "weights"

    def plan(self, n_steps):
        """Append the stretches of the next `n_steps` steps."""
        if self.keep is not None and self.keep != "all":
            number = N_OTHERWISE if self.keep == "weights" else self.keep
            self.stretches += equal_stretches(self.n_steps, self.n_steps + n_steps, number)

    def wants_state(self):
        """True if the state before the coming step is to be kept."""
        if self.keep is None:
            return False
        return self.keep in ("all", "weights") or self._is_chosen()

    def wants_memory(self, rates):
        """True if the coming step, with these `rates`, needs the optimizer's memory kept.

        Where no more of them fit, "weights" becomes 10.
        """
        if self.keep != "weights" or self._is_chosen():
            return True
        if self._tells_momentum(rates):
            return False
        self._memories_left -= 1
        if self._memories_left < 0:
            self.keep = N_OTHERWISE
        return True

    def _tells_momentum(self, rates):
        """True if the last step's weights and rates tell the momentum well enough."""
        last = self.schedule[-1]
        if not all(group.get("momentum") for group in last.settings):
            return False  # a step without momentum leaves torch's buffer as it is
        pairs = zip(last.rates, rates, strict=False)  # a group may have been added
        return all(before > 0 and now <= _RATE_GROWTH * before for before, now in pairs)

    def _is_chosen(self):
        return self.n_steps == 0 or self.n_steps in self._chosen

    @property
    def _chosen(self):
        """Steps before which a whole state is kept, but for the first one."""
        middles = {stretch.middle for stretch in self.stretches}
        last = self.stretches[-1].last if self.stretches else 0
        return middles | starts_of_the_end(last, middles)

    def add_state(self, state):
        """Keep a state, unless it is kept already (the last one before ``partial_fit``)."""
        if not self.states or self.states[-1].step < state.step:
            self.states.append(state)

    def end(self):
        """Reduce the stretches to the steps that were taken (early stopping)."""
        reached = [s for s in self.stretches if s.middle < self.n_steps]
        if self.stretches and self.n_steps:
            last = reached.pop() if reached else Stretch(0, 0, 0)
            reached.append(Stretch(last.first, last.middle, self.n_steps))
        self.stretches = reached

    def mark_broken(self, reason):
        """Note why the run cannot be replayed; the first reason stays."""
        self.broken = self.broken or reason

    def note_moved(self, name):
        """Note that something other than a step changed the weights after the last step."""
        self.moved_by[name] = self.n_steps

    def meet(self, params):
        """Note that the weights are not those at the end of the steps so far, unless known."""
        ended = len(self.states) and self.states[-1].step == self.n_steps
        if ended and self.n_steps and self.n_steps not in self.moved_by.values():
            recorded = self.states[-1].params
            if not torch.equal(recorded, params.to(recorded)):
                self.note_moved("something between two calls of fit or partial_fit")

    def nearest(self, step):
        """Last kept state at or before `step` that steps can be repeated from."""
        self.check_states()
        return [state for state in self.states if state.step <= step and state.is_whole][-1]

    def check_states(self):
        """Raise a ValueError if no state was kept."""
        if not self.states:
            raise ValueError(
                "this needs the training's states, but the estimator was fitted with "
                'trajectory=None. Fit it with trajectory="auto", or use a method of the final '
                'model such as "hif".'
            )

    def check_replay(self, what="replay"):
        """Raise a ValueError if `what` cannot be had: it repeats steps of several processes."""
        if self.n_processes > 1:
            largest = max(sum(step.per_process) for step in self.schedule)
            raise ValueError(
                f"{what} needs the training repeated, which cannot be done for one in "
                f"{self.n_processes} processes. Train in one process with batch_size={largest}, "
                'use a method that needs recorded states only ("gif" and "tracin" with '
                'n_checkpoints="recorded"), or one of the final model ("hif").'
            )

    def check_training_again(self, what):
        """Raise a ValueError if `what`, which trains again without some rows, cannot be had."""
        self.check_replay(what)

    def check_begun(self):
        """Raise a NotFittedError if the net was initialized and given nothing to train on."""
        if self.fingerprint is None and not self.broken:
            raise NotFittedError(
                "the estimator was initialized but not trained: its weights are the initial ones. "
                "Call fit."
            )

    def check_data(self, X, codes, sample_weight=None):
        """Raise a ValueError that names the reason if this run cannot be replayed with these data.

        They are as ``ConformantNet.as_trained`` returns them.
        """
        self.check_begun()
        if self.broken:
            raise ValueError(f"The recorded trajectory cannot be used: {self.broken}.")
        given = DataFingerprint.of(X, codes, sample_weight)
        self.fingerprint.check_same(given, "The trajectory was recorded on")
