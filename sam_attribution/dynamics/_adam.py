"""torch's Adam and AdamW as pure functions of flat vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sam_attribution.dynamics._optimizer import Memory


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
        beta1, beta2 = self.betas
        count, first, second = memory or _fresh(params)
        if self.decoupled:
            params = params - rate * self.weight_decay * params
        else:
            gradient = gradient + self.weight_decay * params
        count = count + 1
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient * gradient
        root = _root(second / (1 - beta2**count)) + self.eps
        params = params - rate * first / (1 - beta1**count) / root
        return params, (count, first, second)


def _fresh(params: Tensor) -> Memory:
    zeros = torch.zeros_like(params)
    return params.new_zeros(()), zeros, zeros


def _root(second: Tensor) -> Tensor:
    """Square root whose derivative at 0 is 0: plain autodiff has inf there (dead units)."""
    dead = second == 0
    return torch.where(dead, 0.0, torch.where(dead, 1.0, second).sqrt())
