"""The vector-Jacobian product of one training step: two passes backward over two passes."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sam_attribution.dynamics._optimizer import Optimizer
from sam_attribution.dynamics._sam import Buffers
from sam_attribution.dynamics._step import TrainingState


class BatchPasses(Protocol):
    """A batch whose forward pass and loss can be had one after the other."""

    def outputs(self, params: Tensor, buffers: Buffers) -> tuple[Tensor, Buffers]:
        """What the network puts out for every row, and the buffers after the pass."""
        ...

    def mean_loss(self, output: Tensor) -> Tensor:
        """Mean loss of the batch, every row in it."""
        ...


class Derivatives(Protocol):
    """Anything that gives the ascent step and its products."""

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        """Ascent step, shape (n_params,)."""
        ...

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        """Products of `u` with the transposed derivatives in `w` and in `g`."""
        ...


class Cotangent(NamedTuple):
    """Derivatives of k numbers with respect to a training state.

    Attributes
    ----------
    params : Tensor of shape (k, n_params)
    buffers : dict of str to Tensor of shape (k, ...)
        Of those that a step changes; none stands for zeros.
    memory : tuple of Tensor of shape (k, n_params)
        None for what is no vector (the number of updates); empty stands for zeros.
    """

    params: Tensor
    buffers: Buffers
    memory: tuple[Tensor | None, ...] = ()


class Reading(NamedTuple):
    """How k numbers hang on the weights of the batch's rows, as one of the two passes has it.

    ``d number / d row weight`` is the share of the row in the batch times ``<directions, gradient
    of the row's loss at point>``, which the loss needs `output` and `tangents` for.

    Attributes
    ----------
    point : Tensor of shape (n_params,)
    directions : Tensor of shape (k, n_params)
    output : Tensor of shape (n_rows, n_outputs)
    tangents : Tensor of shape (k, n_rows, n_outputs)
        Derivative of the output along the directions.
    """

    point: Tensor
    directions: Tensor
    output: Tensor
    tangents: Tensor


class StepProduct(NamedTuple):
    """What the product of a step yields: the state it led to, cotangents before it, readings."""

    after: TrainingState
    before: Cotangent
    readings: list[Reading]


def step_vjp(
    batch: BatchPasses,
    state: TrainingState,
    rate: float | Tensor,
    cotangent: Cotangent,
    *,
    perturbation: Derivatives,
    rho: float,
    optimizer: Optimizer,
    clip: Callable[[Tensor], Tensor] | None = None,
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
    first = _GradientPass(batch, state.params, state.buffers)
    moved, second = None, first
    if rho != 0:
        moved = state.params + perturbation.eps(state.params, first.gradient.detach(), rho)
        # batch-norm statistics stay those of the first pass
        second = _GradientPass(batch, moved, first.after)
    update = _Update(state, second.gradient.detach(), rate, optimizer, clip)
    to_params, to_memory, to_gradient = update.pull(cotangent)
    if moved is None:
        pulled, to_buffers, reading = first.pull(to_gradient, cotangent.buffers)
        before = Cotangent(to_params + pulled, to_buffers, to_memory)
        return StepProduct(update.after(first.after), before, [reading])
    at_moved, _, upper = second.pull(to_gradient, {})
    by_w, by_g = _through_eps(perturbation, state.params, first.gradient.detach(), rho, at_moved)
    pulled, to_buffers, lower = first.pull(by_g, cotangent.buffers)
    before = Cotangent(to_params + at_moved + by_w + pulled, to_buffers, to_memory)
    return StepProduct(update.after(first.after), before, [upper, lower])


class _GradientPass:
    """Mean-loss gradient of a batch at one point, with the graph to go back through."""

    def __init__(self, batch: BatchPasses, params: Tensor, buffers: Buffers) -> None:
        self.point = params.detach()
        self._leaf = self.point.clone().requires_grad_()
        self._buffers = {name: _leaf_of(buffer) for name, buffer in buffers.items()}
        with torch.enable_grad():
            self.output, self.after = batch.outputs(self._leaf, self._buffers)
            loss = batch.mean_loss(self.output)
            (back,) = torch.autograd.grad(loss, self.output, create_graph=True)
            self._back = back if back.requires_grad else back.requires_grad_()
            (self.gradient,) = torch.autograd.grad(
                self.output, self._leaf, self._back, create_graph=True
            )

    def pull(self, to_gradient: Tensor, to_after: Buffers) -> tuple[Tensor, Buffers, Reading]:
        """Cotangents of parameters and buffers, and the reading, for k cotangents."""
        names = [name for name in to_after if self.after[name].requires_grad]
        outputs = [self.gradient, *(self.after[name] for name in names)]
        leaves = [self._leaf, self._back, *(self._buffers[name] for name in names)]
        cotangents = [to_gradient, *(to_after[name] for name in names)]
        # the gradient is linear in what comes back to the output, so the derivative in that is
        # the derivative of the output along the cotangent
        pulled, tangents, *to_buffers = _pulled(outputs, leaves, cotangents)
        reading = Reading(self.point, to_gradient, self.output.detach(), tangents)
        return pulled, dict(zip(names, to_buffers, strict=True)), reading


class _Update:
    """The optimiser's step, with the graph to go back through."""

    def __init__(
        self,
        state: TrainingState,
        gradient: Tensor,
        rate: float | Tensor,
        optimizer: Optimizer,
        clip: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._leaves = [_leaf_of(state.params), _leaf_of(gradient)]
        self._vectors = [memory.ndim > 0 for memory in state.memory]
        before = tuple(_leaf_of(m) if m.ndim else m for m in state.memory)
        self._leaves += [m for m in before if m.ndim]
        with torch.enable_grad():
            clipped = self._leaves[1] if clip is None else clip(self._leaves[1])
            self._params, self._memory = optimizer.update(self._leaves[0], before, clipped, rate)

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
        params, gradient, *vectors = _pulled(outputs, self._leaves, cotangents)
        given = iter(vectors)
        return params, tuple(next(given) if v else None for v in self._vectors), gradient


def _through_eps(
    perturbation: Derivatives, w: Tensor, g: Tensor, rho: float, columns: Tensor
) -> tuple[Tensor, Tensor]:
    pairs = [perturbation.vjp(w, g, rho, column) for column in columns]
    by_w, by_g = zip(*pairs, strict=True)
    return torch.stack(by_w), torch.stack(by_g)


def _pulled(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor]:
    """Products of k cotangents with the Jacobian, each of shape (k, ...)."""
    several = len(cotangents[0]) > 1
    found = torch.autograd.grad(
        outputs,
        leaves,
        list(cotangents) if several else [c[0] for c in cotangents],
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=several,
    )
    shapes = [(len(cotangents[0]), *leaf.shape) for leaf in leaves]
    return [
        leaf.new_zeros(shape) if product is None else product.reshape(shape)
        for leaf, product, shape in zip(leaves, found, shapes, strict=True)
    ]


def _leaf_of(value: Tensor) -> Tensor:
    value = value.detach()
    return value.clone().requires_grad_() if value.is_floating_point() else value
