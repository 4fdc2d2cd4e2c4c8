"""One pass of a training step: the gradient of a batch, and its derivative in both directions."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sam_attribution.dynamics._second_derivative import check_differentiable_again
from sam_attribution.dynamics._step import Buffers


class BatchPasses(Protocol):
    """A batch whose forward pass and loss can be computed one after the other."""

    def outputs(self, params: Tensor, buffers: Buffers) -> tuple[Tensor, Buffers]:
        """The network's output for every row, and the buffers after the pass."""
        ...

    def mean_loss(self, output: Tensor) -> Tensor:
        """Mean loss of the batch, every row in it: a sum over rows of their own outputs."""
        ...

    def loss_gradient(self, output: Tensor) -> Tensor | None:
        """Gradient of the mean loss in the output, differentiable; None if no formula is known."""
        ...


class RowSensitivity(NamedTuple):
    """Derivatives of k numbers in the weights of a batch's rows, through one of the two passes.

    ``d number / d row weight`` is the share of the row in the batch times ``<directions, gradient
    of the row's loss at point>``, which the loss needs `output` and `tangents` for.

    Attributes
    ----------
    point : Tensor of shape (n_params,)
    directions : Tensor of shape (k, n_params)
    output : Tensor of shape (n_rows, n_outputs)
    tangents : Tensor of shape (k, n_rows, n_outputs)
        Derivative of the output along the directions.
    part : int, default=0
        Number of the part of the batch that the rows are in.
    """

    point: Tensor
    directions: Tensor
    output: Tensor
    tangents: Tensor
    part: int = 0


class GradientPass:
    """Mean-loss gradient of a batch at one point, with the graph to differentiate it.

    Reverse over reverse throughout, which the symmetry of Hessians allows. :meth:`pull` gives the
    cotangents of the buffers `pulled`, :meth:`push` carries the tangents of those `moving`. An
    error for a part without a second derivative, unless the same batch function was `checked`.
    With `as_rounded` the loss is differentiated by autograd, as in training, even if it has a
    formula.
    """

    def __init__(
        self,
        batch: BatchPasses,
        params: Tensor,
        buffers: Buffers,
        *,
        pulled: Iterable[str] = (),
        moving: Sequence[str] = (),
        checked: bool = False,
        as_rounded: bool = True,
    ) -> None:
        self.point = params.detach()
        self._leaf = self.point.clone().requires_grad_()
        leaves = {*pulled, *moving}
        # copies in any case: a module may write in place, which a leaf would not let it
        self._buffers = {
            name: leaf_of(buffer) if name in leaves else buffer.detach().clone()
            for name, buffer in buffers.items()
        }
        self._moving = moving
        with torch.enable_grad():
            self.output, self.after = batch.outputs(self._leaf, self._buffers)
            back = None if as_rounded else batch.loss_gradient(self.output)
            if back is None:
                loss = batch.mean_loss(self.output)
                (back,) = torch.autograd.grad(loss, self.output, create_graph=True)
            self._back = back if back.requires_grad else back.requires_grad_()
            # zeros: what comes out is linear in them, so that `push` can differentiate in them
            self._seeds = [torch.zeros_like(self.after[m]).requires_grad_() for m in moving]
            self.gradient, *self._on_buffers = torch.autograd.grad(
                [self.output, *(self.after[m] for m in moving)],
                [self._leaf, *(self._buffers[m] for m in moving)],
                [self._back, *self._seeds],
                create_graph=True,
            )
        if not checked:
            check_differentiable_again(self.gradient)

    def pull(
        self, to_gradient: Tensor, to_after: Buffers
    ) -> tuple[Tensor, Buffers, RowSensitivity]:
        """Cotangents of parameters and buffers, and sensitivities to rows, for k cotangents."""
        names = [name for name in to_after if self.after[name].requires_grad]
        outputs = [self.gradient, *(self.after[name] for name in names)]
        leaves = [self._leaf, self._back, *(self._buffers[name] for name in names)]
        cotangents = [to_gradient, *(to_after[name] for name in names)]
        # the gradient is linear in what comes back to the output, so the derivative in that is
        # the derivative of the output along the cotangent
        pulled, tangents, *to_buffers = pulled_back(outputs, leaves, cotangents)
        sensitivity = RowSensitivity(self.point, to_gradient, self.output.detach(), tangents)
        return pulled, dict(zip(names, to_buffers, strict=True)), sensitivity

    def push(
        self, along: Tensor, on_buffers: Buffers, row_weights: Tensor
    ) -> tuple[Tensor, Buffers]:
        """Tangents of the gradient and of the buffers after, for k tangents.

        `along` are those of the parameters, (k, n_params), `row_weights` those of the weights of
        the rows, (k, n_rows).
        """
        outputs = [self.gradient, *self._on_buffers, self.output]
        # a row's weight multiplies its part of what comes back to the output
        by_weights = row_weights.view(*row_weights.shape, *[1] * (self.output.ndim - 1))
        weighted = by_weights * self._back.detach()
        cotangents = [along, *(on_buffers[m] for m in self._moving), weighted]
        pushed, *after = pulled_back(outputs, [self._leaf, *self._seeds], cotangents)
        return pushed, dict(zip(self._moving, after, strict=True))


def gradient_of(batch: BatchPasses, params: Tensor, buffers: Buffers) -> tuple[Tensor, Buffers]:
    """Mean-loss gradient of a batch and the buffers after, without a graph."""
    leaf = leaf_of(params)
    with torch.enable_grad():
        copies = {name: buffer.detach().clone() for name, buffer in buffers.items()}
        output, after = batch.outputs(leaf, copies)
        (gradient,) = torch.autograd.grad(batch.mean_loss(output), leaf)
    return gradient, {name: buffer.detach() for name, buffer in after.items()}


def pulled_back(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor]:
    """Products of k cotangents with the Jacobian, each of shape (k, ...); the graph is used up."""
    k = len(cotangents[0])
    if k > 1:
        try:
            return _products(outputs, leaves, cotangents, is_grads_batched=True, retain_graph=True)
        except RuntimeError:  # a backward pass that vmap does not know
            pass
    each = [
        _products(outputs, leaves, [c[i : i + 1] for c in cotangents], retain_graph=i < k - 1)
        for i in range(k)
    ]
    return each[0] if k == 1 else [torch.cat(parts) for parts in zip(*each, strict=True)]


def _products(
    outputs: Sequence[Tensor],
    leaves: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    *,
    retain_graph: bool,
    is_grads_batched: bool = False,
) -> list[Tensor]:
    """The products in one backward pass: of one cotangent, or batched of all of them."""
    k = len(cotangents[0])
    found = torch.autograd.grad(
        outputs,
        leaves,
        list(cotangents) if is_grads_batched else [c[0] for c in cotangents],
        retain_graph=retain_graph,
        allow_unused=True,
        is_grads_batched=is_grads_batched,
    )
    shapes = [(k, *leaf.shape) for leaf in leaves]
    return [
        leaf.new_zeros(shape) if product is None else product.reshape(shape)
        for leaf, product, shape in zip(leaves, found, shapes, strict=True)
    ]


def leaf_of(value: Tensor) -> Tensor:
    """A copy that gradients can be taken with respect to."""
    return value.detach().clone().requires_grad_()
