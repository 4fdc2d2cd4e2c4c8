"""Where the eigenvalues of an operator lie."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_attribution.linalg._operator import LinearOperator


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


def extreme_eigenvalues(operator: LinearOperator, n_steps: int = 80) -> Spectrum:
    """Radius and outermost real parts, from an Arnoldi basis of `n_steps` vectors.

    Exact when ``n_steps >= operator.size``; otherwise from Ritz values, which lie inside
    the true range. Costs ``n_steps`` products and ``n_steps * size`` numbers; the starting
    vector is fixed, so the answer is reproducible.
    """
    values = ritz_values(operator, n_steps)
    reals = values.real
    return Spectrum(float(np.abs(values).max()), float(reals.min()), float(reals.max()))


def ritz_values(operator: LinearOperator, n_steps: int) -> np.ndarray:
    """Eigenvalue estimates (complex) from an Arnoldi basis of `n_steps` vectors at most."""
    return np.linalg.eigvals(_arnoldi(operator, min(n_steps, operator.size)))


def _arnoldi(operator: LinearOperator, n_steps: int) -> np.ndarray:
    """Hessenberg matrix of `operator` in an orthonormal Krylov basis."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    basis = [(start / start.norm()).to(operator.like)]
    hessenberg = np.zeros((n_steps + 1, n_steps))
    for j in range(n_steps):
        v, column = _orthogonalise(operator.matvec(basis[j]), basis)
        hessenberg[: j + 1, j] = column
        norm = float(v.norm())
        if norm <= torch.finfo(v.dtype).eps * max(1.0, float(np.abs(column).max())):
            return hessenberg[: j + 1, : j + 1]  # an invariant subspace: exact already
        hessenberg[j + 1, j] = norm
        basis.append(v / norm)
    return hessenberg[:n_steps, :n_steps]


def _orthogonalise(v: Tensor, basis: list[Tensor]) -> tuple[Tensor, np.ndarray]:
    """Gram-Schmidt, twice: once loses orthogonality in float32."""
    q = torch.stack(basis)
    total = torch.zeros(len(basis), dtype=v.dtype, device=v.device)
    for _ in range(2):
        coefficients = q @ v
        v = v - coefficients @ q
        total = total + coefficients
    return v, total.double().cpu().numpy()
