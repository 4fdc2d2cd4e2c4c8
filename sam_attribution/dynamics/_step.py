"""One training step as a pure function of everything that it depends on."""

from typing import NamedTuple

from torch import Tensor

from sam_attribution.dynamics._sam import Ascent, BatchLoss, Buffers, sam_gradient
from sam_attribution.dynamics._sgd import SGD


class TrainingState(NamedTuple):
    """What a step changes: flat parameters, buffers, the optimiser's velocity (None at first)."""

    params: Tensor
    buffers: Buffers
    velocity: Tensor | None


def training_step(
    loss: BatchLoss,
    state: TrainingState,
    row_weights: Tensor,
    rate: float | Tensor,
    *,
    perturbation: Ascent,
    rho: float,
    optimizer: SGD,
) -> TrainingState:
    """State after one step of SAM, with the descent done by `optimizer`.

    Parameters
    ----------
    loss : callable
        Mean loss of the step's batch and the new buffers, see :func:`sam_gradient`.
    state : TrainingState
    row_weights : Tensor of shape (n_rows,)
        Of the batch's rows; the batch's denominator is the loss's own and does not change.
    rate : float or Tensor of shape (n_params,)
    perturbation : object with ``eps(w, g, rho)``
    rho : float
    optimizer : SGD

    Returns
    -------
    TrainingState

    Notes
    -----
    Two gradients (one at rho = 0). Differentiable by ``torch.func`` and by autograd in
    parameters, velocity, floating-point buffers and row weights.
    """
    gradient, buffers = sam_gradient(
        loss, state.params, state.buffers, row_weights, perturbation, rho
    )
    params, velocity = optimizer.update(state.params, state.velocity, gradient, rate)
    return TrainingState(params, buffers, velocity)
