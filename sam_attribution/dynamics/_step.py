"""One training step as a pure function of everything that it depends on."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sam_attribution.dynamics._optimizer import Memory, Optimizer
from sam_attribution.dynamics._sam import BatchLoss, Buffers, sam_gradient
from sam_attribution.perturbation import Perturbation


class TrainingState(NamedTuple):
    """State that a step changes: flat parameters, buffers, optimiser's memory (empty at first)."""

    params: Tensor
    buffers: Buffers
    memory: Memory = ()


def training_step(
    loss: BatchLoss,
    state: TrainingState,
    row_weights: Tensor,
    rate: float | Tensor,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Callable[[Tensor], Tensor] | None = None,
) -> TrainingState:
    """State after one step of SAM, with the descent done by `optimizer`.

    Parameters
    ----------
    loss : callable
        Mean loss of the step's batch and the new buffers, see :func:`sam_gradient`.
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
