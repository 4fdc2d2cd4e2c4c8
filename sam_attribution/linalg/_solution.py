"""The interface of a solver, its solution, and the warning that it did not converge."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sam_attribution._summary import summary
from sam_attribution._warnings import warn
from sam_attribution.linalg._operator import LinearOperator


@dataclass(frozen=True)
class Solution:
    """Columns that solve ``A x = b``, with their residual.

    Attributes
    ----------
    x : Tensor of shape (size, k)
    converged : bool
        True if every column met the tolerance.
    n_iter : int
        Products with the operator spent on the worst column (0 for a direct solve).
    residual : float
        Largest ``||b - A x|| / ||b||`` over the columns.
    """

    x: Tensor
    converged: bool
    n_iter: int
    residual: float

    __repr__ = summary


class Solver(Protocol):
    """Frozen settings; :meth:`prepare` does the work that all right-hand sides share."""

    def prepare(self, operator: LinearOperator) -> "Inverse":
        """Return the inverse of `operator`; refuse what cannot be solved."""


class Inverse(ABC):
    """A prepared solver: ready for any number of right-hand sides.

    Parameters
    ----------
    solver : solver
        Settings to solve with.
    operator : LinearOperator
        Operator that is inverted.
    """

    def __init__(self, solver: Solver, operator: LinearOperator) -> None:
        self._solver = solver
        self._operator = operator

    def __repr__(self) -> str:
        return f"Inverse({self._operator!r}, solver={self._solver!r})"

    @abstractmethod
    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column, shape (size, k)."""

    @cached_property
    def T(self) -> "Inverse":
        """The inverse of the transposed operator, made ready when it is first asked for."""
        return self if self._operator.symmetric else self._solver.prepare(self._operator.T)

    def _checked(self, x: Tensor, columns: Tensor, n_iter: int, tol: float) -> Solution:
        """The solution `x` with its residual; warns if that is above `tol`."""
        norms = torch.linalg.vector_norm(columns, dim=0)
        errors = torch.linalg.vector_norm(columns - self._operator.matmat(x), dim=0)
        residual = float((errors / torch.where(norms == 0, 1.0, norms)).max())
        converged = residual <= tol
        if not converged:
            warn(
                f"{self._solver!r} stopped at a relative residual of {residual:.1e} (tol "
                f"{tol:.1e}) on {self._operator!r} after {n_iter} iterations: raise "
                f"{_way_on(self._solver)}.",
                ConvergenceWarning,
            )
        return Solution(x, converged, n_iter, residual)


def _way_on(solver: object) -> str:
    settings = [name for name in ("max_iter", "n_terms", "n_steps") if hasattr(solver, name)]
    return " or ".join([*settings, "the damping"])
