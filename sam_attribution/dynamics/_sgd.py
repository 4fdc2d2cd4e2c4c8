"""torch's SGD as a pure function of flat vectors."""

from dataclasses import dataclass

from torch import Tensor

from sam_attribution.dynamics._optimizer import Memory


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
        descent = gradient + self.weight_decay * params
        if self.momentum == 0:
            return params - rate * descent, memory
        velocity = self._velocity(memory, descent)
        direction = descent + self.momentum * velocity if self.nesterov else velocity
        return params - rate * direction, (velocity,)

    def _velocity(self, memory: Memory, descent: Tensor) -> Tensor:
        if not memory:
            return descent  # torch does not dampen the first step
        return self.momentum * memory[0] + (1 - self.dampening) * descent
