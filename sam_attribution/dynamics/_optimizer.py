"""Optimizers and gradient clipping of torch as pure functions of flat vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Memory = tuple[Tensor, ...]
Pulled = tuple[Tensor | None, ...]  # cotangents of a memory: None for a number, empty for zeros
Clipping = Callable[[Tensor], Tensor]


class Optimizer(Protocol):
    """Settings that turn a gradient into a step; the memory between steps is passed along."""

    def update(
        self, params: Tensor, memory: Memory, gradient: Tensor, rate: float | Tensor
    ) -> tuple[Tensor, Memory]:
        """Parameters and memory after a step; an empty memory stands for the first one."""
        ...

    def pull(
        self,
        params: Tensor,
        memory: Memory,
        gradient: Tensor,
        rate: float | Tensor,
        to_params: Tensor,
        to_memory: Pulled,
    ) -> tuple[Tensor, Pulled, Tensor]:
        """Cotangents of parameters, memory and gradient, for k cotangents of those after the step.

        The step is that of :meth:`update` with the first four arguments.
        """
        ...

    def gradient_between(self, params: Tensor, before: Memory, after: Memory) -> Tensor:
        """The gradient of a step from `params`, as far as :meth:`pull` depends on it."""
        ...


@dataclass(frozen=True)
class SGD:
    """Settings of ``torch.optim.SGD`` without the rate, which changes from step to step.

    Parameters
    ----------
    momentum, dampening : float, default=0
    nesterov : bool, default=False
    weight_decay : float or Tensor of shape (n_params,), default=0
        One number per parameter where groups differ.
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float | Tensor = 0.0

    def update(
        self, params: Tensor, memory: Memory, gradient: Tensor, rate: float | Tensor
    ) -> tuple[Tensor, Memory]:
        """Parameters and memory after a step with `gradient`, all of shape (n_params,).

        `memory` holds torch's momentum buffer; it is empty before the first step with momentum,
        and steps without leave it as it is.
        """
        # decay enters the descent at w, never the ascent
        descent = _decayed(gradient, self.weight_decay, params)
        if self.momentum == 0:
            return _less(params, rate, descent), memory
        velocity = self._velocity(memory, descent)
        nesterov = self.nesterov
        direction = torch.add(descent, velocity, alpha=self.momentum) if nesterov else velocity
        return _less(params, rate, direction), (velocity,)

    def pull(
        self,
        params: Tensor,
        memory: Memory,
        gradient: Tensor,
        rate: float | Tensor,
        to_params: Tensor,
        to_memory: Pulled,
    ) -> tuple[Tensor, Pulled, Tensor]:
        """Cotangents before the step, each of shape (k, n_params)."""
        to_direction = -rate * to_params
        if self.momentum == 0:
            return _decayed(to_params, self.weight_decay, to_direction), to_memory, to_direction
        by_direction = _times(self.momentum if self.nesterov else 1.0, to_direction)
        to_velocity = _plus(by_direction, to_memory, 0)
        to_descent = _times(1 - self.dampening if memory else 1.0, to_velocity)
        if self.nesterov:
            to_descent = to_descent + to_direction
        before = (self.momentum * to_velocity,) if memory else ()
        return _decayed(to_params, self.weight_decay, to_descent), before, to_descent

    def gradient_between(self, params: Tensor, before: Memory, after: Memory) -> Tensor:
        """Zeros: what goes back through the step does not depend on the gradient."""
        return torch.zeros_like(params)

    def _velocity(self, memory: Memory, descent: Tensor) -> Tensor:
        if not memory:
            return descent  # torch does not dampen the first step
        new = _times(1 - self.dampening, descent)
        return torch.add(new, memory[0], alpha=self.momentum)


@dataclass(frozen=True)
class Adam:
    """Settings of ``torch.optim.Adam`` without the rate, which changes from step to step.

    Parameters
    ----------
    betas : tuple of float, default=(0.9, 0.999)
    eps : float, default=1e-8
    weight_decay : float or Tensor of shape (n_params,), default=0
        Added to the gradient, or taken off the weights if `decoupled`.
    decoupled : bool, default=False
        AdamW: the weights shrink by ``rate * weight_decay``, whatever the gradient.

    References
    ----------
    Kingma & Ba, arXiv:1412.6980. Loshchilov & Hutter, arXiv:1711.05101.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float | Tensor = 0.0
    decoupled: bool = False

    def update(
        self, params: Tensor, memory: Memory, gradient: Tensor, rate: float | Tensor
    ) -> tuple[Tensor, Memory]:
        """Parameters and memory after a step with `gradient`, vectors of shape (n_params,).

        `memory` holds the number of updates (shape ()) and both moments; it is empty before
        the first step.
        """
        moments = self._moments(memory or _fresh(params), self._descent(params, gradient))
        if self.decoupled:
            params = params - rate * self.weight_decay * params
        count, first, second = moments
        root = _root(second / (1 - self.betas[1] ** count)) + self.eps
        params = params - rate * first / (1 - self.betas[0] ** count) / root
        return params, moments

    def pull(
        self,
        params: Tensor,
        memory: Memory,
        gradient: Tensor,
        rate: float | Tensor,
        to_params: Tensor,
        to_memory: Pulled,
    ) -> tuple[Tensor, Pulled, Tensor]:
        """Cotangents before the step, each of shape (k, n_params)."""
        beta1, beta2 = self.betas
        descent = self._descent(params, gradient)
        count, first, second = self._moments(memory or _fresh(params), descent)
        correction1, correction2 = 1 - beta1**count, 1 - beta2**count
        root = _root(second / correction2)
        size = root + self.eps
        to_step = -rate * to_params / (correction1 * size)
        to_first = _plus(to_step, to_memory, 1)
        # the slope of the root at 0 is 0, see _root
        slope = torch.where(root == 0, 0.0, 0.5 / torch.where(root == 0, 1.0, root)) / correction2
        to_second = _plus(-to_step * first / size * slope, to_memory, 2)
        to_descent = (1 - beta1) * to_first + 2 * (1 - beta2) * descent * to_second
        before = (None, beta1 * to_first, beta2 * to_second) if memory else ()
        shrunk = -rate * to_params if self.decoupled else to_descent
        return _decayed(to_params, self.weight_decay, shrunk), before, to_descent

    def gradient_between(self, params: Tensor, before: Memory, after: Memory) -> Tensor:
        """The gradient of the step from `params` between two memories, by the first moment."""
        beta1 = self.betas[0]
        kept = beta1 * before[1] if before else 0.0
        descent = (after[1] - kept) / (1 - beta1)
        return descent if self.decoupled else descent - self.weight_decay * params

    def _descent(self, params: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of which moments are taken."""
        return gradient if self.decoupled else _decayed(gradient, self.weight_decay, params)

    def _moments(self, memory: Memory, descent: Tensor) -> Memory:
        beta1, beta2 = self.betas
        count, first, second = memory
        first = beta1 * first + (1 - beta1) * descent
        second = beta2 * second + (1 - beta2) * descent * descent
        return count + 1, first, second


def vector_update(
    memory: Memory, rate: float | Tensor, optimizer: Optimizer, clip: Clipping | None
) -> Callable[..., tuple[Tensor, ...]]:
    """The update as a function of parameters, gradient and the vectors in `memory`, in a row."""

    def update(params: Tensor, gradient: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
        gradient = gradient if clip is None else clip(gradient)
        given = iter(vectors)
        before = tuple(next(given) if m.ndim else m for m in memory)
        params, after = optimizer.update(params, before, gradient, rate)
        return params, *after

    return update


@dataclass(frozen=True)
class NormClipping:
    """``torch.nn.utils.clip_grad_norm_`` of all parameters together."""

    max_norm: float
    norm_type: float = 2.0

    def __call__(self, gradient: Tensor) -> Tensor:
        """Gradient of shape (n_params,), shortened to `max_norm` if it is longer."""
        norm = torch.linalg.vector_norm(gradient, self.norm_type)
        factor: Tensor = self.max_norm / (norm + 1e-6)  # torch's own guard
        return gradient * factor.clamp(max=1.0)


def _fresh(params: Tensor) -> Memory:
    zeros = torch.zeros_like(params)
    return params.new_zeros(()), zeros, zeros


def _plus(value: Tensor, cotangents: Pulled, number: int) -> Tensor:
    """`value` plus one of the cotangents of a memory; no cotangents stand for zeros."""
    more = cotangents[number] if cotangents else None
    return value if more is None else value + more


def _decayed(value: Tensor, weight_decay: float | Tensor, decaying: Tensor) -> Tensor:
    """`value` plus the weight decay times what decays; without decay the value itself."""
    if isinstance(weight_decay, float | int) and weight_decay == 0:
        return value
    return value + weight_decay * decaying


def _less(value: Tensor, factor: float | Tensor, other: Tensor) -> Tensor:
    """`value` minus the product, in one pass over memory where the factor is a number."""
    if torch.is_tensor(factor):
        return value - factor * other
    return torch.sub(value, other, alpha=factor)


def _times(factor: float, value: Tensor) -> Tensor:
    """The product; for a factor of 1 the value itself, without a pass over it."""
    return value if factor == 1 else factor * value


def _root(second: Tensor) -> Tensor:
    """Square root whose derivative at 0 is 0: plain autodiff has inf there (dead units)."""
    dead = second == 0
    return torch.where(dead, 0.0, torch.where(dead, 1.0, second).sqrt())
