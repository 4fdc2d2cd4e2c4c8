"""A small subspace in which an operator can be looked at: Arnoldi's method."""

import numpy as np
import torch
from torch import Tensor

from sam_attribution.linalg._operator import LinearOperator


def krylov_basis(operator: LinearOperator, n_steps: int) -> tuple[Tensor, np.ndarray]:
    """Orthonormal Krylov basis of a fixed random vector, and the operator in it.

    Returns
    -------
    basis : Tensor of shape (m, size)
        ``m = min(n_steps, operator.size)``, or fewer that span an invariant subspace.
    matrix : ndarray of shape (m, m)
        ``basis A basis'``, a Hessenberg matrix.
    """
    n_steps = min(n_steps, operator.size)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    basis = [(start / start.norm()).to(operator.like)]
    hessenberg = np.zeros((n_steps + 1, n_steps))
    for j in range(n_steps):
        v, column = _orthogonalise(operator.matvec(basis[j]), basis)
        hessenberg[: j + 1, j] = column
        norm = float(v.norm())
        if norm <= torch.finfo(v.dtype).eps * max(1.0, float(np.abs(column).max())):
            return torch.stack(basis), hessenberg[
                : j + 1, : j + 1
            ]  # an invariant subspace: exact already
        hessenberg[j + 1, j] = norm
        basis.append(v / norm)
    return torch.stack(basis[:n_steps]), hessenberg[:n_steps, :n_steps]


def _orthogonalise(v: Tensor, basis: list[Tensor]) -> tuple[Tensor, np.ndarray]:
    """Gram-Schmidt, twice: once loses orthogonality in float32."""
    q = torch.stack(basis)
    total = torch.zeros(len(basis), dtype=v.dtype, device=v.device)
    for _ in range(2):
        coefficients = q @ v
        v = v - coefficients @ q
        total = total + coefficients
    return v, total.double().cpu().numpy()
