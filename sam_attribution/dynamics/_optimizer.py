"""What a step asks of an optimiser."""

from typing import Protocol

from torch import Tensor

Memory = tuple[Tensor, ...]


class Optimizer(Protocol):
    """Settings that turn a gradient into a step; what is remembered between steps goes along."""

    def update(
        self, params: Tensor, memory: Memory, gradient: Tensor, rate: float | Tensor
    ) -> tuple[Tensor, Memory]:
        """Parameters and memory after a step; an empty memory stands for the first one."""
        ...
