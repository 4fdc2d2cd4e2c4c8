"""Further training from the trained state, as pure steps or by the net's own."""

import numpy as np
import torch

from sam_attribution.dynamics import NoFunctionalForm, TrainingState
from sam_attribution.perturbation import as_perturbation
from sam_attribution.problem import (
    PureStep,
    TrainingBatch,
    functional_optimizer,
)
from sam_attribution.retraining._real_loop import RealLoop, check_known_steps
from sam_attribution.training import (
    State,
    Step,
    batch_schedule,
    derived_seed,
    isolated_random_state,
)


class FurtherBatches:
    """Batches of more epochs over the rows that a problem was trained on, drawn from `seed`.

    ``ends_of_epochs`` are numbers of steps.
    """

    def __init__(self, problem, n_epochs, seed, batch_size=None):
        rows = torch.arange(len(problem.y), device=problem.y.device)
        rows = rows if problem.visited is None else rows[problem.visited]
        if batch_size is None:
            batch_size = problem.path.batch_size
        epochs = (batch_schedule(len(rows), batch_size, epoch, seed) for epoch in range(n_epochs))
        self.batches = [rows[torch.as_tensor(batch)] for epoch in epochs for batch in epoch]
        self.n_steps = len(self.batches)
        self.ends_of_epochs = self.n_steps // n_epochs * np.arange(1, n_epochs + 1)


class FurtherSteps:
    """Further training from the trained state as pure steps.

    The last state of the recorded training is enough. `seed` fixes dropout masks; `given` is the
    optimizer of :func:`further_optimizer`. The default of other settings is that of the training.
    NoFunctionalForm, if its steps cannot be pure.
    """

    def __init__(self, problem, drawn, seed, given, *, lr=None, rho=None, perturbation=None):
        path = problem.path
        check_known_steps(path)
        self.problem = problem
        self.seed = seed
        self.n_steps = drawn.n_steps
        self._batches = drawn.batches
        optimizer = functional_optimizer(path) if given is None else given.as_function()
        self._rate = further_rate(path, given, lr, path.spread)
        self._settings = {
            "perturbation": as_perturbation(perturbation or problem.perturbation, problem.layout),
            "rho": problem.rho if rho is None else float(rho),
            "optimizer": optimizer,
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


def further_loop(problem, drawn, seed, given, *, lr=None, rho=None, perturbation=None):
    """The same further training by the net's own steps, a :class:`RealLoop`."""
    path = problem.path
    settings = {"rates": (), "perturbation_norm": 0.0}
    if given is None:
        rates = further_rate(path, given, lr, tuple)
        groups = tuple({k: v for k, v in g.items() if k != "lr"} for g in path.group_settings)
        settings["rates"] = (rates,) * len(groups) if isinstance(rates, float) else rates
        settings["settings"] = groups
    steps = path.net_steps(
        start=State(0, problem.params, problem.buffers, optimizer=None),
        schedule=[
            Step(
                indices=batch.cpu().numpy(),
                rho=problem.rho if rho is None else float(rho),
                loss_scale=path.schedule[-1].loss_scale if path.schedule else 1.0,
                m_sharpness=problem.m_sharpness,
                **settings,
            )
            for batch in drawn.batches
        ],
        seed=seed,
        ends_of_epochs=drawn.ends_of_epochs,
        optimizer=None if given is None else given.with_rate(lr),
        perturbation=None if perturbation is None else as_perturbation(perturbation),
        read_epoch=problem.epoch_read,
    )
    return RealLoop(steps, problem.params, problem.buffers)


def further_rate(path, given, lr, spread):
    """The rate of all steps: `lr`, that of a torch optimizer, or the training's mean by group."""
    if lr is not None:
        return float(lr)
    if given is not None and given.rate is not None:
        return given.rate
    rates = path.mean_rates
    if not rates.any():
        known = "that of the training was 0 in every step, and nothing would change"
        raise ValueError(
            "lr must be given for further training: "
            f"{known if path.has_steps else 'that of the training is not known'}. "
            "Pass FurtherTraining(lr=0.1), for example."
        )
    return spread(rates.tolist())


def check_buffers(batch):
    """Raise NoFunctionalForm if a pass in training mode moves a buffer other than batch norm's."""
    problem = batch.problem
    buffers = {name: buffer.clone() for name, buffer in problem.buffers.items()}
    with isolated_random_state(batch.seed, problem.params.device):
        batch.outputs(problem.params, buffers)
    moved = [name for name, b in problem.buffers.items() if not torch.equal(b, buffers[name])]
    if moved:
        raise NoFunctionalForm(
            f"module changes the buffer {moved[0]!r} in training, in place, so several models "
            "cannot be trained at once. Only batch norm's running statistics are supported. Use "
            'real_loop="auto".',
            f"module changes the buffer {moved[0]!r} in training",
        )
