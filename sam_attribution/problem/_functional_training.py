"""The recorded training as pure steps, which can be differentiated or run with other weights."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sam_attribution.dynamics import (
    NoFunctionalForm,
    TrainingState,
    parts_of,
    step_jvp,
    step_vjp,
    training_step,
)
from sam_attribution.problem._functional_optimizer import (
    check_optimizer,
    functional_optimizer,
    optimizer_memory,
)
from sam_attribution.problem._recorded import check_recorded
from sam_attribution.problem._running_statistics import running_statistics
from sam_attribution.problem._training_batch import TrainingBatch
from sam_attribution.training import bare_optimizer, derived_seed

_WHAT = (
    'repeating or differentiating the training ("unrolled", "unrolled-segments", '
    '"integrated-unrolled", diagnose(smoothness=...))'
)


@dataclass(frozen=True, eq=False)
class PureStep:
    """One recorded step as a function of state and row weights.

    The ``rows`` of `batch` are positions in the problem; `settings` are ``perturbation``, ``rho``,
    ``optimizer`` and ``clip`` of ``dynamics.training_step``. With `m_sharpness` parts of the batch
    climb apart. Without `others` the module draws from torch's random streams alone.
    """

    batch: TrainingBatch
    rate: float | Tensor
    settings: dict
    m_sharpness: int | None = None
    others: bool = True

    def __post_init__(self):
        _ = self._passes  # now: a tensor first made inside of torch.vmap does not outlive it

    @cached_property
    def _passes(self):
        """The batch, or its parts, as ``dynamics`` takes them."""
        return self.batch.in_parts(self.m_sharpness)

    @property
    def batches(self):
        """The batch of each part, a list; of the whole batch if it is not split."""
        return [part.batch for part in parts_of(self._passes)]

    def after(self, state, row_weights):
        """State after the step with weights of shape (n_rows,) for the batch's rows.

        Differentiable, and batched by ``torch.vmap``.
        """
        with self.batch.in_training(others=self.others):
            return training_step(self._passes, state, row_weights, self.rate, **self.settings)

    def vjp(self, state, cotangent, **options):
        """``dynamics.step_vjp`` at a state; `options` as there."""
        with self.batch.in_training(others=self.others):
            return step_vjp(self._passes, state, self.rate, cotangent, **self.settings | options)

    def vjp_at_w(self, state, after, cotangent, **options):
        """The product with the Hessian and the rows' gradients before the ascent.

        What goes back through the optimizer is that of the recorded step from `state` to `after`.
        """
        optimizer = self.settings["optimizer"]
        gradient = optimizer.gradient_between(state.params, state.memory, after.memory)
        return self.vjp(state, cotangent, rho=0.0, gradient=gradient, **options)

    def jvp(self, state, tangent, row_weights):
        """``dynamics.step_jvp`` at a state."""
        with self.batch.in_training(others=self.others):
            return step_jvp(self._passes, state, self.rate, tangent, row_weights, **self.settings)


class FunctionalTraining:
    """The recorded training of a problem, step by step.

    `row_weights` (n_samples,) weight the rows in every step; ones, as in training, if None.
    ``tracked`` are the names of the buffers that training moves: batch norm's running statistics.

    Raises
    ------
    ValueError
        If the training did not lead to the problem's parameters. NoFunctionalForm, if it cannot be
        written as pure steps: the optimizer, a callback, skipped steps or a buffer that changes in
        an unknown way, each by name.
    """

    def __init__(self, problem, row_weights=None):
        if problem.path is not None:
            problem.path.check_replay(_WHAT)
        check_recorded(problem)
        path = problem.path
        self.problem = problem
        self._row_weights = row_weights
        self.n_steps = path.n_steps
        self.tracked = running_statistics(problem.training_module)
        self._others = not problem.drawn_streams <= {"torch"}
        self._settings = {
            "perturbation": problem.perturbation,
            "clip": path.clipping(),
        }
        self._optimizer = None, None
        for number in range(self.n_steps):
            self._optimizer_at(number)  # raises for a step that has no functional form
        _check_steps(path)
        _check_gradients(path)
        _check_buffers(path, self.tracked)

    def step(self, number):
        """The recorded step of that number, from 0, as a :class:`PureStep`."""
        path, problem = self.problem.path, self.problem
        recorded = path.schedule[number]
        rows = torch.as_tensor(recorded.indices, device=problem.y.device)
        seed = derived_seed(path.seed, number)
        problem = problem.at_epoch(path.epoch_of(number))
        batch = TrainingBatch(problem, rows, seed, self._row_weights)
        settings = {"rho": recorded.rho, "optimizer": self._optimizer_at(number)}
        rate = path.spread(recorded.rates, problem.params.dtype)
        return PureStep(batch, rate, self._settings | settings, recorded.m_sharpness, self._others)

    def _optimizer_at(self, number):
        """The optimizer with the settings of a step, made again where a schedule moves them."""
        path, dtype = self.problem.path, self.problem.params.dtype
        groups = path.settings_at(number)
        if groups != self._optimizer[0]:
            self._optimizer = groups, functional_optimizer(path, groups, dtype)
        return self._optimizer[1]

    def states(self, recorded):
        """Yield recorded states, the last one first, in the form that the steps take."""
        recorded = iter(recorded)
        state = next(recorded)
        for before in recorded:
            yield self.state(state, before)
            state = before
        yield self.state(state)

    def state(self, recorded, before=None):
        """A recorded state in the form that the steps take.

        `before` is the one a step earlier, for a state without the optimizer's memory.
        """
        device, dtype = self.problem.params.device, self.problem.params.dtype
        buffers = {
            name: buffer.to(device, dtype if buffer.is_floating_point() else buffer.dtype)
            for name, buffer in recorded.buffers.items()
        }
        memory = optimizer_memory(self.problem.path, recorded, before)
        return TrainingState(recorded.params.to(device, dtype), buffers, memory)

    def start(self):
        """The state before the first step; a ValueError if no state was recorded."""
        return self.state(self.problem.path.nearest(0))


def check_functional(problem, optimizer, method):
    """Raise a ValueError, before training, for a training that could not be pure steps.

    `problem` has the untrained module, `optimizer` is what would train it; `method` asks for it.
    """
    check_optimizer(type(bare_optimizer(optimizer)), optimizer.param_groups, type(method).__name__)
    running_statistics(problem.training_module)


def _check_steps(path):
    if not path.taken.all():
        raise NoFunctionalForm(
            f"this method cannot differentiate step {path.taken.argmin()}, which a GradScaler "
            'skipped. Train in bf16 or float32, or use a method such as "gif" or "loo".',
            "a GradScaler skipped steps",
        )


def _check_gradients(path):
    _, sometimes = path.without_gradient
    if sometimes and _moves_without_gradient(path):
        raise NoFunctionalForm(
            f"module gave its parameter {min(sometimes)!r} no gradient in some steps. There "
            "torch skips the parameter, weight decay and momentum included, and this method does "
            "not support that. Use the parameter in every step, train by SGD without momentum "
            'and weight_decay, or use a method such as "gif" or "loo".',
            f"module gave its parameter {min(sometimes)!r} no gradient in some steps",
        )


def _moves_without_gradient(path):
    """True if a gradient of 0 would move a parameter in some step."""
    groups = (group for number in range(path.n_steps) for group in path.settings_at(number))
    return path.optimizer is not torch.optim.SGD or any(
        group.get("momentum") or group.get("weight_decay") for group in groups
    )


def _check_buffers(path, tracked):
    first, last = path.nearest(0).buffers, path.nearest(path.n_steps).buffers
    unknown = [
        name
        for name, buffer in last.items()
        if buffer.is_floating_point()
        and name not in tracked
        and not torch.equal(buffer, first[name])
    ]
    if unknown:
        raise NoFunctionalForm(
            f"module changes the buffer {unknown[0]!r} in training, and this method supports "
            'changes of batch norm\'s running statistics only. Use a method such as "gif" or '
            '"loo".',
            f"module changes the buffer {unknown[0]!r} in training",
        )
