"""Further training from the trained state, as pure steps."""

import numpy as np
import torch

from sam_attribution.dynamics import TrainingState
from sam_attribution.perturbation import as_perturbation
from sam_attribution.problem import PureStep, TrainingBatch, functional_optimizer
from sam_attribution.training import batch_schedule, derived_seed, isolated_random_state


class FurtherSteps:
    """More epochs over the rows that a problem was trained on, in new batches.

    The last state of the recorded training is enough. Settings are those of FurtherTraining; the
    default of each is that of the training. `seed` draws batches and dropout masks,
    `ends_of_epochs` are numbers of steps.
    """

    def __init__(
        self, problem, n_epochs, seed, *, batch_size=None, lr=None, rho=None, perturbation=None,
        optimizer=None,
    ):  # fmt: skip
        path = problem.path
        self.problem = problem
        self.seed = seed
        self._batches = _batches(problem, n_epochs, batch_size, seed)
        self.n_steps = len(self._batches)
        self.ends_of_epochs = self.n_steps // n_epochs * np.arange(1, n_epochs + 1)
        self._rate = _mean_rate(path) if lr is None else float(lr)
        self._settings = {
            "perturbation": as_perturbation(perturbation or problem.perturbation, problem.layout),
            "rho": problem.rho if rho is None else float(rho),
            "optimizer": functional_optimizer(path) if optimizer is None else optimizer,
            "clip": path.clipping(),
        }
        check_buffers(self._batch(0))

    def start(self):
        """The state at the end of the training, without the optimizer's memory."""
        return TrainingState(self.problem.params, self.problem.buffers)

    def step(self, number):
        """Step `number`, counted from 0, a :class:`~sam_attribution.problem.PureStep`."""
        m = self.problem.m_sharpness
        return PureStep(self._batch(number), self._rate, self._settings, m)

    def _batch(self, number):
        return TrainingBatch(self.problem, self._batches[number], derived_seed(self.seed, number))


def _mean_rate(path):
    rates = path.learning_rates.mean(0)
    if not rates.any():
        raise ValueError(
            "lr must be given for further training: that of the training was 0 in every step, and "
            "nothing would change. Pass FurtherTraining(lr=0.1), for example."
        )
    return path.spread(rates)


def _batches(problem, n_epochs, batch_size, seed):
    """Positions of every batch's rows; each epoch covers all rows trained on once."""
    everyone = torch.arange(len(problem.y), device=problem.y.device)
    rows = everyone if problem.visited is None else everyone[problem.visited]
    if batch_size is None:
        batch_size = max(len(step.indices) for step in problem.path.schedule)
    epochs = (batch_schedule(len(rows), batch_size, epoch, seed) for epoch in range(n_epochs))
    return [rows[torch.as_tensor(batch)] for epoch in epochs for batch in epoch]


def check_buffers(batch):
    """Raise a ValueError if a pass in training mode moves a buffer that batch norm does not own."""
    problem = batch.problem
    buffers = {name: buffer.clone() for name, buffer in problem.buffers.items()}
    with isolated_random_state(batch.seed, problem.params.device):
        batch.outputs(problem.params, buffers)
    moved = [name for name, b in problem.buffers.items() if not torch.equal(b, buffers[name])]
    if moved:
        raise ValueError(
            f"module changes the buffer {moved[0]!r} in training, in place: models that differ in "
            "one row cannot share it. Only the running statistics of batch norm are known."
        )
