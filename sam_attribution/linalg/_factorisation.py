"""Factorisations of dense matrices: what is not finite, or has no inverse, is refused by name."""

import math
from typing import Any

import numpy as np
import scipy.linalg
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sam_attribution._overflow import REMEDY_FOR_OVERFLOW
from sam_attribution._warnings import warn


class SingularMatrix(ValueError):
    """A matrix has no inverse in the precision that it is known in."""


class NotFinite(ValueError):
    """A matrix holds NaN or infinity."""


def check_finite(values: Tensor, what: str) -> None:
    """Raise NotFinite for NaN or infinity: LAPACK may end the process over them."""
    if not bool(torch.isfinite(values).all()):
        raise NotFinite(
            f"{what} is not finite: weights or rows are so large that derivatives overflow. "
            f"{REMEDY_FOR_OVERFLOW}."
        )


def eigenvalues(matrix: Tensor, what: str) -> np.ndarray:
    """Eigenvalues of any square matrix, complex."""
    check_finite(matrix, what)
    return np.asarray(np.linalg.eigvals(matrix.double().cpu().numpy()))


def symmetric_eigen(matrix: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues and eigenvectors of symmetric matrices."""
    check_finite(matrix, what)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def least_of_moments(values: Tensor, size: int, dtype: torch.dtype) -> float:
    """Largest eigenvalue of a second moment that may be rounding alone.

    `values` are its eigenvalues, `size` is the length of the vectors and `dtype` their precision:
    relative to the largest, a squared rounding error.
    """
    rounding = max(torch.finfo(values.dtype).eps, torch.finfo(dtype).eps ** 2)
    return 10 * size * rounding * float(values.max())


class LU:
    """The LU factors of a square matrix, which solve with its transpose as well.

    A SingularMatrix if one over the condition number (in the 1-norm) is below the rounding of the
    dtype; a warning below the root of the size times that.
    """

    def __init__(self, matrix: Tensor, what: str) -> None:
        check_finite(matrix, what)
        self._factors, self._pivots, info = torch.linalg.lu_factor_ex(matrix)
        inverse_condition = 0.0 if int(info) else _inverse_condition(matrix, self._factors)
        _check_condition(inverse_condition, matrix, what)

    def solve(self, columns: Tensor, *, adjoint: bool = False) -> Tensor:
        """Solutions for columns; those of the transposed matrix if `adjoint`."""
        x: Tensor = torch.linalg.lu_solve(self._factors, self._pivots, columns, adjoint=adjoint)
        return x


def _check_condition(inverse_condition: float, matrix: Tensor, what: str) -> None:
    """Raise a SingularMatrix where no digit of a solution is known, warn where few may be."""
    dtype = str(matrix.dtype).removeprefix("torch.")
    rounding = torch.finfo(matrix.dtype).eps
    said = f"of {dtype}: 1 / condition is {inverse_condition:.1e}. {_way_on(matrix.dtype)}"
    if not inverse_condition > rounding:
        raise SingularMatrix(f"{what} is singular to the precision {said}")
    if inverse_condition <= math.sqrt(len(matrix)) * rounding:
        warn(f"{what} is nearly singular to the precision {said}", ConvergenceWarning)


def _way_on(dtype: torch.dtype) -> str:
    damping = "Raise the damping (by more than its most negative eigenvalue, if it has one)"
    return f"{damping}." if dtype == torch.float64 else f'{damping}, or train with dtype="float64".'


def _inverse_condition(matrix: Tensor, factors: Tensor) -> float:
    """LAPACK's estimate of ``1 / (||A|| ||A^-1||)`` in the 1-norm; a few solves."""
    lu = factors.cpu().numpy()
    estimate: Any = scipy.linalg.get_lapack_funcs("gecon", (lu,))
    rcond, _ = estimate(lu, float(matrix.abs().sum(0).max()))
    return float(rcond)
