"""The recorded training as attribution sees it: states, batches and rates."""

from collections import Counter
from functools import cached_property, reduce

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from sam_attribution.dynamics import NormClipping
from sam_attribution.problem._few_rows import spread_positions
from sam_attribution.problem._optimizer_places import places_in_optimizer
from sam_attribution.problem._path_point import PathPoint
from sam_attribution.problem._running_statistics import statistics_of
from sam_attribution.training import (
    NetSteps,
    bare_optimizer,
    derived_seed,
    ends_of_epochs,
    epoch_of,
    equal_stretches,
    inner_module,
    is_mixed_precision,
    norm_clippings,
    own_steps_of,
    part_slices,
    rewind,
)

_STRETCHES = 10  # where every state was recorded


class TrainingPath:
    """States, batches and rates of one fitted estimator.

    Its ``trajectory_`` holds the schedule and some states, its ``replay`` recomputes the others.
    `X`, `y` and `sample_weight` are the rows it was fitted on, as given to ``fit``. ``has_steps``
    is True because every step is known.
    """

    has_steps = True

    def __init__(self, classifier, X, y, sample_weight, layout):
        self._classifier = classifier
        self._data = (X, y, sample_weight)
        self._trajectory = classifier.trajectory_
        self._device = classifier.module_device
        self._module = module = inner_module(classifier.module_)
        self._like = layout.vector_of(module)[:0]
        groups = classifier.optimizer_.param_groups
        self.optimizer = type(bare_optimizer(classifier.optimizer_))
        self.group_settings = [{k: v for k, v in g.items() if k != "params"} for g in groups]
        self._layout = layout
        self._owners = places_in_optimizer(groups, layout, module)
        self._ends_of_epochs = ends_of_epochs(classifier.history)
        self._losses = [
            batch.get("train_loss", np.nan)
            for epoch in classifier.history
            for batch in epoch["batches"]
            if "train_batch_size" in batch
        ]

    def __repr__(self):
        return f"{type(self).__name__}(n_steps={self.n_steps})"

    @property
    def dtype(self):
        """Precision of the parameters in training."""
        return self._like.dtype

    @property
    def n_steps(self):
        """Number of training steps."""
        return self._trajectory.n_steps

    @property
    def schedule(self):
        """The recorded steps, a list of ``training.Step``."""
        return self._trajectory.schedule

    @property
    def seed(self):
        """Seed of training: with the number of a step it fixes the step's dropout masks."""
        return self._trajectory.seed

    @property
    def own_steps(self):
        """Phrase that names a part of the training step that the net's class replaces, or None."""
        return own_steps_of(self._classifier)

    @property
    def mixed_precision(self):
        """True if training computed in half precision."""
        return is_mixed_precision(self._classifier)

    def codes_with(self, rows, labels):
        """Label codes (or targets) of all rows as training reads them, with other `labels` at some.

        The `labels` are in the form of those given to ``fit``.
        """
        X, y, _ = self._data
        y, labels = np.asarray(y), np.asarray(labels)
        y = y.astype(np.result_type(y, labels))  # a copy, with room for longer strings
        y[rows] = labels
        return self._classifier.as_trained(X, y)[1]

    def net_steps(self, *, codes=None, **options):
        """Steps of the net's own training loop: ``training.NetSteps`` on the rows trained on.

        By default they are the recorded ones. With `codes` the rows have these labels.
        """
        recorded = {"schedule": self.schedule, "seed": self.seed}
        if "start" not in options:
            recorded["start"] = self.nearest(0)
        recorded["ends_of_epochs"] = self._ends_of_epochs
        X, y, sample_weight = self._classifier.as_trained(*self._data)
        data = X, y if codes is None else codes, sample_weight
        return NetSteps(self._classifier, data, **recorded | options)

    def settings_at(self, step):
        """Settings of the optimizer at a step, without the rate: a dict per parameter group."""
        noted = self.schedule[step].settings or ({},) * len(self.group_settings)
        return [last | then for last, then in zip(self.group_settings, noted, strict=True)]

    def clipping(self):
        """Gradient clipping by the callbacks, as a function of the gradient; None without any.

        A ValueError if a callback changed gradients otherwise than by clipping their norm.
        """
        if all(step.gradient_factor == 1 for step in self.schedule):
            return None
        callbacks = self._classifier.callbacks_
        clippings = [NormClipping(*each) for each in norm_clippings(callbacks, self.schedule)]
        return lambda gradient: reduce(lambda g, clip: clip(g), clippings, gradient)

    @property
    def rho(self):
        """Radius of the perturbation in the last step."""
        return self.schedule[-1].rho

    @property
    def batch_size(self):
        """Number of rows in the largest batch."""
        return max(len(step.indices) for step in self.schedule)

    def some_batches(self, n_batches):
        """Rows and seed of the batches of a few steps, spread over the run."""
        steps = spread_positions(self.n_steps, n_batches).tolist()
        return [(self.batch_rows(step), self.seed_of(step)) for step in steps]

    @property
    def mean_rates(self):
        """Mean learning rate of each parameter group, shape (n_groups,); 0 if it is not known."""
        return self.learning_rates.mean(0)

    @property
    def usual_rate(self):
        """Median learning rate, the largest over the groups; 0 if it is not known."""
        return float(np.median(self.learning_rates, axis=0).max())

    @property
    def duration(self):
        """Length of the training, in the unit of :meth:`time_of`."""
        return self.n_steps

    def time_of(self, state):
        """When a recorded state was reached: the number of steps before it."""
        return state.step

    def check_states(self):
        """Raise a ValueError if no state can be known: those of recorded steps can."""

    def accept_final_weights(self):
        """Let the final weights stand for a training of which nothing else is known."""

    @property
    def can_be_repeated(self):
        """True if the steps can be repeated in this process."""
        return self._trajectory.n_processes == 1

    def check_replay(self, what):
        """Raise a ValueError if `what` cannot be had: steps cannot be repeated in this process."""
        self._trajectory.check_replay(what)

    def check_training_again(self, what):
        """Raise a ValueError if `what`, which trains again without some rows, cannot be had."""
        self._trajectory.check_training_again(what)

    @property
    def m_sharpness(self):
        """Most rows that shared a perturbation in the last step; None for whole batches."""
        schedule = self._trajectory.schedule
        return schedule[-1].m_sharpness if schedule else None

    @property
    def n_parts(self):
        """Number of perturbed parts of the batch in each step, int array of shape (n_steps,)."""
        steps = self._trajectory.schedule
        return np.array([len(part_slices(len(s.indices), s.m_sharpness)) for s in steps], dtype=int)

    @property
    def recorded_states(self):
        """The states that were kept, in the order of training."""
        return list(self._trajectory.states)

    def nearest(self, step):
        """The last recorded state at or before a step; ValueError if there is none."""
        return self._trajectory.nearest(step)

    @property
    def visited(self):
        """Positions of the rows that were in the batch of a step that was taken, ascending."""
        batches = [step.indices for step in self._trajectory.schedule if not step.skipped]
        return np.unique(np.concatenate(batches))

    @property
    def taken(self):
        """False for steps that a GradScaler skipped, bool array of shape (n_steps,)."""
        return np.array([not step.skipped for step in self._trajectory.schedule], dtype=bool)

    @property
    def decays(self):
        """True if the optimizer has weight decay."""
        return any(group.get("weight_decay") for group in self.group_settings)

    @property
    def last_epoch(self):
        """The batches of the steps taken in the last epoch, tensors of positions."""
        first = self._ends_of_epochs[-2] if len(self._ends_of_epochs) > 1 else 0
        steps = [step for step in self.schedule[first:] if not step.skipped]
        return [torch.as_tensor(step.indices, device=self._device) for step in steps]

    @property
    def moved_by(self):
        """Names of callbacks that changed weights outside of steps, with the last such step."""
        return self._trajectory.moved_by

    def ends_at(self, problem):
        """True if a problem's parameters and batch-norm statistics are those at the end."""
        states = self._trajectory.states
        if len(states) == 0:
            return True
        last, names = states[-1], statistics_of(problem.module)
        pairs = [(last.params, problem.params)]
        pairs += [(last.buffers[name], problem.buffers[name]) for name in names]
        return all(torch.equal(recorded.to(now), now) for recorded, now in pairs)

    @property
    def learning_rates(self):
        """Learning rate of every step and parameter group, shape (n_steps, n_groups)."""
        return np.array([step.rates for step in self._trajectory.schedule], dtype=np.float64)

    @property
    def losses(self):
        """Loss that training noted for the batch of every step, NaN for none, (n_steps,)."""
        known = len(self._losses) == self.n_steps
        return np.array(self._losses, dtype=np.float64) if known else np.full(self.n_steps, np.nan)

    def batch_rows(self, step):
        """Positions of the rows in the batch of a step, a tensor."""
        return torch.as_tensor(self.schedule[step].indices, device=self._device)

    def shares(self, step):
        """Positions of the rows that each process had at a step, a tuple of tensors.

        Those of all are one share where batch norm took its statistics over all.
        """
        rows, sizes = self.batch_rows(step), self.schedule[step].per_process
        together = any(isinstance(part, nn.SyncBatchNorm) for part in self._module.modules())
        return (rows,) if together or not sizes else rows.split(list(sizes))

    def seed_of(self, step):
        """Seed of the masks of a step."""
        return derived_seed(self.seed, step)

    @property
    def gradient_factors(self):
        """Factors that clipping put on each step's gradient, 0 for a step that was skipped.

        A ValueError if a callback changed a gradient in another way.
        """
        factors = np.array([step.gradient_factor for step in self._trajectory.schedule])
        factors = np.where(self.taken, factors, 0.0)  # what clipping made of an overflow is gone
        if np.isnan(factors).any():
            raise ValueError(
                f"callbacks changed the gradient of step {np.isnan(factors).argmax()} otherwise "
                "than by a factor (clipping by value, for example), so the effect of a row's "
                'gradient is not known. Clip by norm, or use a method of the final model: "hif".'
            )
        return factors

    def spread(self, per_group, dtype=None):
        """One number per parameter group -> a float, or (n_params,) for several groups.

        The tensor has `dtype`, by default that of training.
        """
        if len(per_group) == 1:
            return float(per_group[0])
        values = torch.tensor(per_group, dtype=dtype or self._like.dtype, device=self._like.device)
        return torch.cat(
            [
                values[owner.group].expand(shape.numel())
                for owner, shape in zip(self._owners, self._layout.shapes, strict=True)
            ]
        )

    def optimizer_state(self, state):
        """Shape, optimizer's entries and parameter group of each parameter at a recorded state.

        In layout order. The entries are None for a parameter that was never stepped.
        """
        entries = state.optimizer["state"]
        return [
            (shape, entries.get(owner.number), owner.group)
            for owner, shape in zip(self._owners, self._layout.shapes, strict=True)
        ]

    @cached_property
    def without_gradient(self):
        """Names of parameters that no step gave a gradient, and of those that only some did."""
        steps = self.schedule
        missing = Counter(name for step in steps for name in step.without_gradient)
        never = {name for name, count in missing.items() if count == len(steps)}
        return never, set(missing) - never

    def where_stepped(self, value, dtype=None):
        """A number for each parameter, 0 for those without a gradient: torch leaves them alone.

        The result has `dtype`, by default that of training.
        """
        never, _ = self.without_gradient
        if not never:
            return value
        parts = [
            self._like.new_full((shape.numel(),), name not in never, dtype=dtype)
            for name, shape in zip(self._layout.names, self._layout.shapes, strict=True)
        ]
        return value * torch.cat(parts)

    def epochs_of(self, steps):
        """First and last epoch, counted from 1, of a span of steps."""
        first, last = steps
        ends = self._ends_of_epochs
        return tuple(int(np.searchsorted(ends, t, side="right")) + 1 for t in (first, last - 1))

    def epoch_of(self, step):
        """Epoch, counted from 0, in which a step reads its rows."""
        return epoch_of(step, self._ends_of_epochs)

    def epoch_at(self, state):
        """Epoch, counted from 0, in which training went on from a recorded state."""
        return self.epoch_of(state.step)

    def stretches(self, n_checkpoints):
        """`n_checkpoints` equal stretches of the steps; "recorded" for those that were recorded.

        The recorded ones are taken as well if so many were asked for when training was planned
        (early stopping leaves fewer, ``partial_fit`` more of them). Where every state was
        recorded, "recorded" are ten.
        """
        self._trajectory.check_states()
        keep = self._trajectory.keep
        if n_checkpoints == "recorded":
            n_checkpoints = _STRETCHES if keep == "all" else keep
        if keep == n_checkpoints:
            return self._trajectory.stretches
        return equal_stretches(0, self.n_steps, n_checkpoints)

    def n_repeated(self, n_checkpoints):
        """Number of training steps that are repeated to visit the states of the stretches.

        Of every step for None.
        """
        middles = [stretch.middle for stretch in self.stretches(n_checkpoints or self.n_steps)]
        recorded = {state.step for state in self._trajectory.states}
        if recorded.issuperset(middles):
            return 0
        return self._known_from(middles[-1]) - self.nearest(middles[0]).step

    def checkpoints(self, n_checkpoints, rates):
        """The middle state of each of the :meth:`stretches`.

        `rates` are summed over each stretch. States that were not recorded are replayed.
        """
        stretches = self.stretches(n_checkpoints)
        totals = rates.over(stretches)
        states = self._states([stretch.middle for stretch in stretches])
        for stretch, total, state in zip(stretches, totals, states, strict=True):
            yield self._point(state, total, (stretch.first, stretch.last))

    def every_step(self, rates):
        """Every state with its own batch and rate, by replay, in the order of `rates`."""
        self.check_replay("n_checkpoints=None")
        for state, rate in rates.along():
            yield self._point(state, rate, (state.step, state.step + 1))

    def states(self):
        """Every state that a step started from, in the order of training, by replay."""
        self.check_replay("this method")
        return self._states(range(self.n_steps))

    def trained_again(self, seed):
        """A classifier of the same settings fitted to the same rows from another seed, and these.

        Of its states the first is recorded.
        """
        self.check_replay("training again from another seed")
        twin = clone(self._classifier)
        twin.set_params(random_state=seed, trajectory=1, trajectory_dir=None)
        X, y, sample_weight = self._data
        return twin.fit(X, y, sample_weight=sample_weight), *self._data

    def states_backwards(self, **options):
        """Every state, the last one first, by replay: see ``training.rewind``.

        `options` are those of ``training.Replay``.
        """
        self.check_replay("this method")
        self.nearest(0)  # raises if nothing was recorded
        return rewind(self._classifier.replayer(*self._data, check_data=False, **options))

    def _point(self, state, rate, steps):
        step = self._trajectory.schedule[state.step]
        return PathPoint(
            params=state.params.to(self._device),
            buffers={name: b.to(self._device) for name, b in state.buffers.items()},
            rows=self.batch_rows(state.step),
            rate=rate,
            rho=step.rho,
            steps=steps,
            seed=self.seed_of(state.step),
            epoch=self.epoch_of(state.step),
            m_sharpness=step.m_sharpness,
            shares=self.shares(state.step),
        )

    def _states(self, steps):
        self._trajectory.check_states()
        recorded = {state.step: state for state in self._trajectory.states}
        if all(step in recorded for step in steps):
            return (recorded[step] for step in steps)
        return self._replayed(steps)

    def _replayed(self, steps):
        """The states of these steps, by a replay that ends at a recorded state, which tests it."""
        self.check_replay("a state that was not recorded")
        X, y, sample_weight = self._data
        wanted = set(steps)
        states = self._classifier.replay(
            X, y, start=min(wanted), stop=self._known_from(max(wanted)), sample_weight=sample_weight
        )
        return (state for state in states if state.step in wanted)

    def _known_from(self, step):
        """Number of the first recorded state at or after a step."""
        return min(state.step for state in self._trajectory.states if state.step >= step)
