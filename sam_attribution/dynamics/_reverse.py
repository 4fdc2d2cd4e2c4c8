"""The vector-Jacobian product of one training step: two passes backward over two passes."""

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.dynamics._gradient_pass import (
    BatchPasses,
    GradientPass,
    RowSensitivity,
    gradient_of,
    leaf_of,
    pulled_back,
)
from sam_attribution.dynamics._optimizer import Adam, Clipping, Optimizer, Pulled
from sam_attribution.dynamics._parts import BatchPart, SplitBatch, parts_of
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
    memory: Pulled = ()


class StepProduct(NamedTuple):
    """State that a step led to, cotangents before it, sensitivities to its rows' weights."""

    after: TrainingState
    before: Cotangent
    sensitivities: list[RowSensitivity]


def step_vjp(
    batch: BatchPasses | SplitBatch,
    state: TrainingState,
    rate: float | Tensor,
    cotangent: Cotangent,
    *,
    perturbation: Perturbation,
    rho: float,
    optimizer: Optimizer,
    clip: Clipping | None = None,
    fixed_ascent: bool = False,
    gradient: Tensor | None = None,
    checked: bool = False,
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
    fixed_ascent : bool, default=False
        Take eps for a constant: Hessian and row gradients at w + eps, and nothing through eps.
    gradient : Tensor of shape (n_params,), optional
        The gradient that the optimizer was given, if it is not the one of the passes here.
    checked : bool, default=False
        Whether the module and the loss are known to have second derivatives throughout.

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
    kind = _FixedAscent if fixed_ascent and rho != 0 else _TwoPasses
    as_rounded = isinstance(optimizer, Adam)  # which makes steps of rounding alone
    passes: list[_TwoPasses | _FixedAscent] = []
    buffers = state.buffers
    for part in parts_of(batch):
        given = part, state.params, buffers, cotangent, perturbation, rho
        passes.append(kind(*given, checked=checked, as_rounded=as_rounded))
        buffers = passes[-1].after
    if gradient is None:
        gradient = reduce(torch.add, [each.gradient for each in passes])
    update = _Update(state, gradient, rate, optimizer, clip)
    to_params, to_memory, to_gradient = update.pull(cotangent)
    to_buffers, sensitivities = cotangent.buffers, []
    for number, each in reversed(list(enumerate(passes))):
        pulled, to_buffers, readings = each.pull(to_gradient, to_buffers)
        to_params = to_params + pulled[0]
        for product in pulled[1:]:
            to_params += product
        sensitivities += [reading._replace(part=number) for reading in readings]
    before = Cotangent(to_params, to_buffers, to_memory)
    return StepProduct(update.after(buffers), before, sensitivities)


class _TwoPasses:
    """Both passes of a part of the batch, with the graphs to go back through."""

    def __init__(
        self,
        part: BatchPart,
        params: Tensor,
        buffers: Buffers,
        cotangent: Cotangent,
        perturbation: Perturbation,
        rho: float,
        *,
        checked: bool,
        as_rounded: bool,
    ) -> None:
        self._part = part
        self._perturbation = perturbation
        self._first = GradientPass(
            part.batch,
            params,
            buffers,
            pulled=cotangent.buffers,
            checked=checked,
            as_rounded=as_rounded,
        )
        self.after = self._first.after
        self._at = params, self._first.gradient.detach(), rho
        self._second = None
        if rho != 0:
            moved = params + perturbation.eps(*self._at)
            # batch-norm statistics stay those of the first pass; the function is the same
            self._second = GradientPass(
                part.batch, moved, self.after, checked=True, as_rounded=as_rounded
            )

    @property
    def gradient(self) -> Tensor:
        """What the part adds to the gradient of the step."""
        last = self._second or self._first
        return self._part.weighted(last.gradient.detach())

    def pull(
        self, to_gradient: Tensor, to_after: Buffers
    ) -> tuple[list[Tensor], Buffers, list[RowSensitivity]]:
        """Summands of the cotangent of the parameters, cotangents of the buffers, sensitivities."""
        to_gradient, summands, sensitivities = self._part.weighted(to_gradient), [], []
        if self._second is not None:
            at_moved, _, upper = self._second.pull(to_gradient, {})
            by_w, to_gradient = _through_eps(self._perturbation, *self._at, at_moved)
            summands, sensitivities = [at_moved, by_w], [upper]
        pulled, to_buffers, lower = self._first.pull(to_gradient, to_after)
        return [*summands, pulled], to_buffers, [*sensitivities, lower]


class _FixedAscent:
    """The second pass of a part of the batch, from where the first one climbed to."""

    def __init__(
        self,
        part: BatchPart,
        params: Tensor,
        buffers: Buffers,
        cotangent: Cotangent,
        perturbation: Perturbation,
        rho: float,
        *,
        checked: bool,
        as_rounded: bool,
    ) -> None:
        self._part, self._first = part, None
        if cotangent.buffers:  # which the first pass moves
            self._first = GradientPass(
                part.batch,
                params,
                buffers,
                pulled=cotangent.buffers,
                checked=checked,
                as_rounded=as_rounded,
            )
            climbing, self.after = self._first.gradient.detach(), self._first.after
        else:
            climbing, self.after = gradient_of(part.batch, params, buffers)
        moved = params + perturbation.eps(params, climbing, rho)
        self._second = GradientPass(
            part.batch, moved, self.after, checked=checked, as_rounded=as_rounded
        )

    @property
    def gradient(self) -> Tensor:
        """What the part adds to the gradient of the step."""
        return self._part.weighted(self._second.gradient.detach())

    def pull(
        self, to_gradient: Tensor, to_after: Buffers
    ) -> tuple[list[Tensor], Buffers, list[RowSensitivity]]:
        """Summands of the cotangent of the parameters, cotangents of the buffers, sensitivities."""
        pulled, _, sensitivity = self._second.pull(self._part.weighted(to_gradient), {})
        if self._first is None:
            return [pulled], to_after, [sensitivity]
        by_buffers, to_buffers, _ = self._first.pull(torch.zeros_like(to_gradient), to_after)
        return [pulled, by_buffers], to_buffers, [sensitivity]


class _Update:
    """The clipped gradient and the optimiser's step, which cotangents go back through."""

    def __init__(
        self,
        state: TrainingState,
        gradient: Tensor,
        rate: float | Tensor,
        optimizer: Optimizer,
        clip: Clipping | None,
    ) -> None:
        self._unclipped, self._clip, self._optimizer = gradient, clip, optimizer
        gradient = gradient if clip is None else clip(gradient)
        self._given = state.params, state.memory, gradient, rate
        self._params, self._memory = optimizer.update(*self._given)

    def after(self, buffers: Buffers) -> TrainingState:
        """The state after the step."""
        buffers = {name: buffer.detach() for name, buffer in buffers.items()}
        return TrainingState(self._params, buffers, self._memory)

    def pull(self, cotangent: Cotangent) -> tuple[Tensor, Pulled, Tensor]:
        """Cotangents of parameters, memory and gradient."""
        params, memory, gradient = self._optimizer.pull(
            *self._given, cotangent.params, cotangent.memory
        )
        if self._clip is not None:
            leaf = leaf_of(self._unclipped)
            with torch.enable_grad():
                clipped = self._clip(leaf)
            (gradient,) = pulled_back([clipped], [leaf], [gradient])
        return params, memory, gradient


def _through_eps(
    perturbation: Perturbation, w: Tensor, g: Tensor, rho: float, columns: Tensor
) -> tuple[Tensor, Tensor]:
    pairs = [perturbation.vjp(w, g, rho, column) for column in columns]
    if len(pairs) == 1:  # without a copy
        return pairs[0][0][None], pairs[0][1][None]
    by_w, by_g = zip(*pairs, strict=True)
    return torch.stack(by_w), torch.stack(by_g)
