"""The Jacobian-vector product of one training step: the transpose of ``step_vjp``."""

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution._summary import summary
from sam_attribution.dynamics._gradient_pass import BatchPasses, GradientPass
from sam_attribution.dynamics._optimizer import Clipping, Optimizer, vector_update
from sam_attribution.dynamics._parts import SplitBatch, parts_of
from sam_attribution.dynamics._step import Buffers, TrainingState
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

    def __repr__(self) -> str:
        return summary(self)


def step_jvp(
    batch: BatchPasses | SplitBatch,
    state: TrainingState,
    rate: float | Tensor,
    tangent: Tangent,
    row_weights: Tensor,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Clipping | None = None,
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
    after, on_buffers, gradients, pushes = state.buffers, tangent.buffers, [], []
    for part in parts_of(batch):
        given = tangent._replace(buffers=on_buffers), row_weights[:, part.rows]
        found = _pushed(part.batch, state.params, after, *given, perturbation, rho)
        gradients.append(part.weighted(found[0]))
        pushes.append(part.weighted(found[1]))
        after, on_buffers = found[2:]
    gradient, pushed = reduce(torch.add, gradients), reduce(torch.add, pushes)
    update = vector_update(state.memory, rate, optimizer, clip)
    at = (state.params, gradient, *(m for m in state.memory if m.ndim))
    moving = (m for m in tangent.memory if m is not None)
    new_params, *new_memory = update(*at)
    push = torch.vmap(lambda *columns: torch.func.jvp(update, at, columns)[1])
    params, *memory = push(tangent.params, pushed, *moving)
    return (
        TrainingState(new_params, after, tuple(new_memory)),
        Tangent(params, on_buffers, tuple(m if m.ndim > 1 else None for m in memory)),
    )


def _pushed(
    batch: BatchPasses,
    params: Tensor,
    buffers: Buffers,
    tangent: Tangent,
    row_weights: Tensor,
    perturbation: Perturbation,
    rho: float,
) -> tuple[Tensor, Tensor, Buffers, Buffers]:
    """Gradient at ``w + eps`` and its tangents; the buffers after and theirs."""
    first = GradientPass(batch, params, buffers, moving=list(tangent.buffers))
    gradient = first.gradient.detach()
    pushed, on_buffers = first.push(tangent.params, tangent.buffers, row_weights)
    if rho != 0:
        moved = params + perturbation.eps(params, gradient, rho)
        along = [
            dw + perturbation.jvp(params, gradient, rho, dw, dg)
            for dw, dg in zip(tangent.params, pushed, strict=True)
        ]
        # batch-norm statistics stay those of the first pass
        second = GradientPass(batch, moved, first.after)
        pushed, _ = second.push(torch.stack(along), {}, row_weights)
        gradient = second.gradient.detach()
    after = {name: buffer.detach() for name, buffer in first.after.items()}
    return gradient, pushed, after, on_buffers
