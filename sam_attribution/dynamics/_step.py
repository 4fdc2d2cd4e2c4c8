"""One training step as a pure function of everything that it depends on."""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.dynamics._optimizer import Clipping, Memory, Optimizer
from sam_attribution.dynamics._parts import SplitBatch, parts_of
from sam_attribution.perturbation import Perturbation

Buffers = dict[str, Tensor]
BatchLoss = Callable[[Tensor, Buffers, Tensor], tuple[Tensor, Buffers]]


class TrainingState(NamedTuple):
    """State that a step changes: flat parameters, buffers, optimiser's memory (empty at first)."""

    params: Tensor
    buffers: Buffers
    memory: Memory = ()


def training_step(
    loss: BatchLoss | SplitBatch,
    state: TrainingState,
    row_weights: Tensor,
    rate: float | Tensor,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Clipping | None = None,
) -> TrainingState:
    """State after one step of SAM, with the descent done by `optimizer`.

    Parameters
    ----------
    loss : callable
        ``loss(params, buffers, row_weights) -> (mean loss, new buffers)`` of the step's batch;
        changes nothing that it is given. Or the parts of a batch, a :class:`SplitBatch`.
    state : TrainingState
    row_weights : Tensor of shape (n_rows,)
        Weights of the batch's rows; the batch's denominator is the loss's own and does not change.
    rate : float or Tensor of shape (n_params,)
    perturbation : object with ``eps(w, g, rho)``
    rho : float
    optimizer : SGD or Adam
    clip : callable, optional
        Clipping of the gradient before the optimiser's step, such as :class:`NormClipping`.

    Returns
    -------
    TrainingState

    Notes
    -----
    Two gradients (one at rho = 0). Differentiable by ``torch.func`` and by autograd in
    parameters, memory, floating-point buffers and row weights.
    """
    gradient, buffers = sam_gradient(
        loss, state.params, state.buffers, row_weights, perturbation, rho
    )
    gradient = gradient if clip is None else clip(gradient)
    params, memory = optimizer.update(state.params, state.memory, gradient, rate)
    return TrainingState(params, buffers, memory)


def sam_gradient(
    loss: BatchLoss | SplitBatch,
    params: Tensor,
    buffers: Buffers,
    row_weights: Tensor,
    perturbation: Perturbation,
    rho: float,
) -> tuple[Tensor, Buffers]:
    """Gradient of the batch loss at ``w + eps(w, g)``, and the buffers after the step.

    The row weights, 1 for a row that is there and 0 for one removed, weight both passes; rho of 0
    takes a single one. Each part of a :class:`SplitBatch` has an eps of its own.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412, eq. 2 and 3; section 4.1 for the
    parts.
    """
    gradients = []
    for part in parts_of(loss):
        weights = row_weights[part.rows]
        climbed = _climbed(part.batch, params, buffers, weights, perturbation, rho)
        gradients.append(part.weighted(climbed[0]))
        buffers = climbed[1]
    return reduce(torch.add, gradients), buffers


def _climbed(
    loss: BatchLoss,
    params: Tensor,
    buffers: Buffers,
    row_weights: Tensor,
    perturbation: Perturbation,
    rho: float,
) -> tuple[Tensor, Buffers]:
    """The same for rows that climb together."""
    gradient, after = _gradient(loss, params, buffers, row_weights)
    if rho == 0:
        return gradient, after
    eps = perturbation.eps(params, gradient, rho)
    # batch-norm statistics stay those of the first pass
    gradient, _ = _gradient(loss, params + eps, after, row_weights)
    return gradient, after


def _gradient(
    loss: BatchLoss, params: Tensor, buffers: Buffers, row_weights: Tensor
) -> tuple[Tensor, Buffers]:
    """Gradient of the loss in the parameters, and the buffers after."""
    try:
        return _gradient_by_autograd(loss, params, buffers, row_weights)
    except RuntimeError:  # inside of a transform of torch.func, whose dropout has masks of its own
        gradient, after = torch.func.grad(loss, has_aux=True)(params, buffers, row_weights)
        return gradient, after


def _gradient_by_autograd(
    loss: BatchLoss, params: Tensor, buffers: Buffers, row_weights: Tensor
) -> tuple[Tensor, Buffers]:
    given = (params, row_weights, *buffers.values())
    again = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    leaf = params if params.requires_grad and again else params.detach().requires_grad_()
    with torch.enable_grad():
        value, after = loss(leaf, buffers, row_weights)
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=again)
    return gradient, after if again else {name: b.detach() for name, b in after.items()}
