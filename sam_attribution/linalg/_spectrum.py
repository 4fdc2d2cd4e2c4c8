"""The eigenvalues of an operator, estimated in a small subspace: Arnoldi's method."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam_attribution.linalg._factorisation import eigenvalues
from sam_attribution.linalg._memory import check_memory
from sam_attribution.linalg._operator import Dense, LinearOperator

_SAFE = 1e-4


@dataclass(frozen=True)
class Spectrum:
    """Outer bounds of the eigenvalues: largest modulus, smallest and largest real part.

    A positive `leftmost` means that the operator is safely invertible.
    """

    radius: float
    leftmost: float
    rightmost: float

    @property
    def needs_damping(self) -> bool:
        """True unless every eigenvalue has a real part above 1e-4 of the largest modulus."""
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
        values = eigenvalues(operator.matrix, f"the spectrum of {operator!r}")
    else:
        values = ritz_values(operator, n_steps)
    return spectrum_of(values)


def ritz_values(operator: LinearOperator, n_steps: int) -> np.ndarray:
    """Eigenvalue estimates (complex) from an Arnoldi basis of `n_steps` vectors at most."""
    matrix = torch.as_tensor(krylov_basis(operator, n_steps)[1])
    return eigenvalues(matrix, f"the spectrum of {operator!r}")


def krylov_basis(operator: LinearOperator, n_steps: int) -> tuple[Tensor, np.ndarray]:
    """Orthonormal Krylov basis (m, size) of a fixed random vector, and the operator in it, (m, m).

    ``m = min(n_steps, operator.size)``, or fewer that span an invariant subspace; the matrix
    ``basis A basis'`` is Hessenberg.
    """
    n_steps = min(n_steps, operator.size)
    like, what = operator.like, f"a Krylov basis of {n_steps} vectors of {operator!r}"
    n_bytes = 2 * n_steps * operator.size * like.element_size()
    check_memory(n_bytes, like.device, what, 'Use fewer n_steps, or parameters="head".')
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    basis = [(start / start.norm()).to(operator.like)]
    hessenberg = np.zeros((n_steps + 1, n_steps))
    for j in range(n_steps):
        v, column = _orthogonalise(operator.matvec(basis[j]), basis)
        hessenberg[: j + 1, j] = column
        norm = float(v.norm())
        if norm <= torch.finfo(v.dtype).eps * max(1.0, float(np.abs(column).max())):
            n_steps = j + 1  # an invariant subspace: exact already
            break
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
