"""The Jacobian-vector product of one training step: the transpose of ``step_vjp``."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.dynamics._gradient_pass import BatchPasses, GradientPass
from sam_attribution.dynamics._optimizer import Memory, Optimizer
from sam_attribution.dynamics._sam import Buffers
from sam_attribution.dynamics._step import TrainingState
from sam_attribution.perturbation import Perturbation


class Tangent(NamedTuple):
    """Derivatives of a training state along k directions.

    Attributes
    ----------
    params : Tensor of shape (k, n_params)
    buffers : dict of str to Tensor of shape (k, ...)
        Tangents of the buffers that a step changes.
    memory : tuple of Tensor of shape (k, n_params)
        None for what is no vector (the number of updates); empty where there is no memory.
    """

    params: Tensor
    buffers: Buffers
    memory: tuple[Tensor | None, ...] = ()


def step_jvp(
    batch: BatchPasses,
    state: TrainingState,
    rate: float | Tensor,
    tangent: Tangent,
    row_weights: Tensor,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Callable[[Tensor], Tensor] | None = None,
) -> tuple[TrainingState, Tangent]:
    """Carry tangents through one step of :func:`training_step`.

    Parameters
    ----------
    batch : object with ``outputs(params, buffers)`` and ``mean_loss(output)``
    state : TrainingState
        Before the step.
    rate : float or Tensor of shape (n_params,)
    tangent : Tangent
        Tangent of the state before the step.
    row_weights : Tensor of shape (k, n_rows)
        Tangents of the weights of the batch's rows: -1 for a row that goes.
    perturbation : object with ``eps`` and ``jvp``
    rho, optimizer, clip
        As for :func:`training_step`.

    Returns
    -------
    after : TrainingState
    tangent : Tangent
        Tangent of the state after the step.

    Notes
    -----
    Two forward and two backward passes, and one backward pass through each of these per tangent:
    Hessians are symmetric, so their products are computed backwards, at the cost of ``step_vjp``.
    """
    first = GradientPass(batch, state.params, state.buffers, moving=list(tangent.buffers))
    gradient, params = first.gradient.detach(), tangent.params
    pushed, buffers = first.push(params, tangent.buffers, row_weights)
    if rho != 0:
        moved = state.params + perturbation.eps(state.params, gradient, rho)
        along = [
            dw + perturbation.jvp(state.params, gradient, rho, dw, dg)
            for dw, dg in zip(params, pushed, strict=True)
        ]
        # batch-norm statistics stay those of the first pass
        second = GradientPass(batch, moved, first.after)
        pushed, _ = second.push(torch.stack(along), {}, row_weights)
        gradient = second.gradient.detach()
    update = _Update(state.memory, rate, optimizer, clip)
    moving = [m for m in tangent.memory if m is not None]
    new_params, *new_memory = update(state.params, gradient, *update.vectors)
    params, *memory = update.push((state.params, gradient), (params, pushed, *moving))
    after = {name: buffer.detach() for name, buffer in first.after.items()}
    return (
        TrainingState(new_params, after, tuple(new_memory)),
        Tangent(params, buffers, tuple(m if m.ndim > 1 else None for m in memory)),
    )


class _Update:
    """The optimiser's step as a function of vectors."""

    def __init__(
        self,
        memory: Memory,
        rate: float | Tensor,
        optimizer: Optimizer,
        clip: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._memory = memory
        self._rate = rate
        self._optimizer = optimizer
        self._clip = clip
        self.vectors = [m for m in memory if m.ndim]

    def __call__(self, params: Tensor, gradient: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
        gradient = gradient if self._clip is None else self._clip(gradient)
        given = iter(vectors)
        memory = tuple(next(given) if m.ndim else m for m in self._memory)
        params, memory = self._optimizer.update(params, memory, gradient, self._rate)
        return params, *memory

    def push(
        self, point: tuple[Tensor, Tensor], tangents: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Tangents of all outputs, for k tangents of all inputs."""
        at = (*point, *self.vectors)
        pushed: tuple[Tensor, ...] = torch.vmap(
            lambda *columns: torch.func.jvp(self, at, columns)[1]
        )(*tangents)
        return pushed
