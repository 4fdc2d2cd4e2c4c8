"""The vector-Jacobian product of one training step: two passes backward over two passes."""

from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.dynamics._gradient_pass import (
    BatchPasses,
    GradientPass,
    RowSensitivity,
    leaf_of,
    pulled_back,
)
from sam_attribution.dynamics._optimizer import Clipping, Optimizer, vector_update
from sam_attribution.dynamics._step import Buffers, TrainingState
from sam_attribution.perturbation import Perturbation


class Cotangent(NamedTuple):
    """Derivatives of k numbers with respect to a training state.

    Attributes
    ----------
    params : Tensor of shape (k, n_params)
    buffers : dict of str to Tensor of shape (k, ...)
        Cotangents of the buffers that a step changes; an empty dict stands for zeros.
    memory : tuple of Tensor of shape (k, n_params)
        None for what is no vector (the number of updates); empty stands for zeros.
    """

    params: Tensor
    buffers: Buffers
    memory: tuple[Tensor | None, ...] = ()


class StepProduct(NamedTuple):
    """State that a step led to, cotangents before it, sensitivities to its rows' weights."""

    after: TrainingState
    before: Cotangent
    sensitivities: list[RowSensitivity]


def step_vjp(
    batch: BatchPasses,
    state: TrainingState,
    rate: float | Tensor,
    cotangent: Cotangent,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Clipping | None = None,
) -> StepProduct:
    """Pull cotangents back through one step of :func:`training_step`.

    Parameters
    ----------
    batch : object with ``outputs(params, buffers)`` and ``mean_loss(output)``
    state : TrainingState
        Before the step.
    rate : float or Tensor of shape (n_params,)
    cotangent : Cotangent
        With respect to the state after the step.
    perturbation : object with ``eps`` and ``vjp``
    rho, optimizer, clip
        As for :func:`training_step`.

    Returns
    -------
    StepProduct

    Notes
    -----
    Reverse over reverse, which the symmetry of Hessians allows: two forward and two backward
    passes, and one backward pass through each of these per cotangent. The derivatives of the
    outputs along the directions come with it, so that every row's part, for any label, is read
    off without a further pass.

    References
    ----------
    Hara et al., Data Cleansing for Models Trained with SGD, arXiv:1906.08473, without SAM.
    """
    first = GradientPass(batch, state.params, state.buffers, pulled=cotangent.buffers)
    gradient, second, sensitivities = first.gradient.detach(), first, []
    if rho != 0:
        moved = state.params + perturbation.eps(state.params, gradient, rho)
        # batch-norm statistics stay those of the first pass
        second = GradientPass(batch, moved, first.after)
    update = _Update(state, second.gradient.detach(), rate, optimizer, clip)
    to_params, to_memory, to_gradient = update.pull(cotangent)
    if rho != 0:
        at_moved, _, upper = second.pull(to_gradient, {})
        by_w, to_gradient = _through_eps(perturbation, state.params, gradient, rho, at_moved)
        to_params = to_params + at_moved + by_w
        sensitivities.append(upper)
    pulled, to_buffers, lower = first.pull(to_gradient, cotangent.buffers)
    before = Cotangent(to_params + pulled, to_buffers, to_memory)
    return StepProduct(update.after(first.after), before, [*sensitivities, lower])


class _Update:
    """The optimiser's step, with the graph to go back through."""

    def __init__(
        self,
        state: TrainingState,
        gradient: Tensor,
        rate: float | Tensor,
        optimizer: Optimizer,
        clip: Clipping | None,
    ) -> None:
        self._vectors = [memory.ndim > 0 for memory in state.memory]
        vectors = [memory for memory in state.memory if memory.ndim]
        self._leaves = [leaf_of(value) for value in (state.params, gradient, *vectors)]
        with torch.enable_grad():
            update = vector_update(state.memory, rate, optimizer, clip)
            self._params, *self._memory = update(*self._leaves)

    def after(self, buffers: Buffers) -> TrainingState:
        """The state after the step."""
        buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        memory = tuple(m.detach() for m in self._memory)
        return TrainingState(self._params.detach(), buffers, memory)

    def pull(self, cotangent: Cotangent) -> tuple[Tensor, tuple[Tensor | None, ...], Tensor]:
        """Cotangents of parameters, memory and gradient."""
        outputs, cotangents = [self._params], [cotangent.params]
        for value, back in zip(self._memory, cotangent.memory, strict=bool(cotangent.memory)):
            if back is not None:
                outputs.append(value)
                cotangents.append(back)
        params, gradient, *vectors = pulled_back(outputs, self._leaves, cotangents)
        given = iter(vectors)
        return params, tuple(next(given) if v else None for v in self._vectors), gradient


def _through_eps(
    perturbation: Perturbation, w: Tensor, g: Tensor, rho: float, columns: Tensor
) -> tuple[Tensor, Tensor]:
    pairs = [perturbation.vjp(w, g, rho, column) for column in columns]
    by_w, by_g = zip(*pairs, strict=True)
    return torch.stack(by_w), torch.stack(by_g)
