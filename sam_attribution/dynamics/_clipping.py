"""Gradient clipping by norm as a pure function."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NormClipping:
    """``torch.nn.utils.clip_grad_norm_`` of all parameters together.

    Parameters
    ----------
    max_norm : float
    norm_type : float, default=2.0
    """

    max_norm: float
    norm_type: float = 2.0

    def __call__(self, gradient: Tensor) -> Tensor:
        """Gradient of shape (n_params,), shortened to `max_norm` if it is longer."""
        norm = torch.linalg.vector_norm(gradient, self.norm_type)
        factor: Tensor = self.max_norm / (norm + 1e-6)  # torch's own guard
        return gradient * factor.clamp(max=1.0)
