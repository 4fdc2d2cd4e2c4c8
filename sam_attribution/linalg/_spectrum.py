"""Where the eigenvalues of an operator lie."""

from dataclasses import dataclass

import numpy as np
import torch

from sam_attribution.linalg._krylov import krylov_basis
from sam_attribution.linalg._operator import Dense, LinearOperator

_SAFE = 1e-4


@dataclass(frozen=True)
class Spectrum:
    """Outer bounds of the eigenvalues.

    Attributes
    ----------
    radius : float
        Largest modulus.
    leftmost : float
        Smallest real part; positive means that the operator is safely invertible.
    rightmost : float
        Largest real part.
    """

    radius: float
    leftmost: float
    rightmost: float

    @property
    def needs_damping(self) -> bool:
        """Unless every eigenvalue has a real part above 1e-4 of the largest modulus."""
        return not self.leftmost > _SAFE * self.radius


def spectrum_of(values: np.ndarray) -> Spectrum:
    """Bounds of known eigenvalues."""
    reals = values.real
    return Spectrum(float(np.abs(values).max()), float(reals.min()), float(reals.max()))


def extreme_eigenvalues(operator: LinearOperator, n_steps: int = 80) -> Spectrum:
    """Radius and outermost real parts, from an Arnoldi basis of `n_steps` vectors.

    Exact for a ``Dense`` operator; otherwise from Ritz values, which lie inside the true
    range. Costs ``n_steps`` products and ``n_steps * size`` numbers; the starting
    vector is fixed, so the answer is reproducible.
    """
    if isinstance(operator, Dense):
        values = torch.linalg.eigvals(operator.matrix.double()).cpu().numpy()
    else:
        values = ritz_values(operator, n_steps)
    return spectrum_of(values)


def ritz_values(operator: LinearOperator, n_steps: int) -> np.ndarray:
    """Eigenvalue estimates (complex) from an Arnoldi basis of `n_steps` vectors at most."""
    return np.linalg.eigvals(krylov_basis(operator, n_steps)[1])
