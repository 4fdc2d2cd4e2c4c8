"""A training run computed by pure steps, from any start."""

from typing import NamedTuple

import torch

from sam_attribution.dynamics import TrainingState
from sam_attribution.training import rewind


class NumberedState(NamedTuple):
    """The state before the step of that number."""

    step: int
    state: TrainingState


class FunctionalRun:
    """The states of a :class:`FunctionalTraining`, computed when asked for; nothing is recorded.

    They set out from the recorded start unless a ``dynamics.TrainingState`` is given.
    ``kept_steps`` is what ``training.rewind`` asks for: steps whose states need not be computed.
    """

    def __init__(self, training, start=None):
        self._training = training
        self._start = NumberedState(0, training.start() if start is None else start)
        self.n_steps = training.n_steps
        self.kept_steps = {0}

    def states(self, first, last, origin=None):
        """Yield numbered states from `first` to `last`, set out from `origin` or the start."""
        first_number, state = origin or self._start
        for number in range(first_number, last + 1):
            if number >= first:
                yield NumberedState(number, state)
            if number < last:
                step = self._training.step(number)
                state = step.after(state, torch.ones_like(step.batch.shares))

    def final(self):
        """The state after the last step."""
        return next(self.states(self.n_steps, self.n_steps)).state

    def backwards(self):
        """Yield every state, the last one first, at most ``2 sqrt(n_steps) + 2`` in memory."""
        return (each.state for each in rewind(self))
