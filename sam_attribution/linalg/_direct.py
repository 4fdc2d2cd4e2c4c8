"""Solve by factorising the dense matrix."""

from copy import copy
from functools import cached_property
from numbers import Real
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg._factorisation import LU
from sam_attribution.linalg._memory import check_memory
from sam_attribution.linalg._operator import Dense, LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Inverse, Solution


class Direct(BaseEstimator):
    """LU factorisation of the materialised operator, for a few thousand parameters.

    Takes any square operator. Costs ``size`` products and ``size**2`` numbers to prepare,
    one pair of triangular solves per right-hand side.

    Parameters
    ----------
    tol : float, default=1e-3
        A relative residual above this warns.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import Dense, Direct
    >>> inverse = Direct().prepare(Dense(torch.tensor([[2.0, 1.0], [0.0, 4.0]])))
    >>> inverse.matmat(torch.tensor([[4.0], [8.0]])).x.ravel()
    tensor([1., 2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, *, tol: float = 1e-3) -> None:
        self.tol = tol

    def prepare(self, operator: LinearOperator) -> "_DirectInverse":
        """Materialise and factorise `operator`.

        Raises
        ------
        ValueError
            If the matrix does not fit into memory, or is singular to rounding or not finite.
        """
        check_parameters(self)
        check_operator(operator)
        check_dense_memory(operator)
        return _DirectInverse(self, operator)


def check_dense_memory(operator: LinearOperator) -> None:
    """Raise a ValueError for a matrix that does not fit: itself, its factors and a transfer."""
    n_bytes = 3 * operator.size**2 * operator.like.element_size()
    instead = 'Use an iterative solver, GMRES() or Arnoldi(), or parameters="head".'
    check_memory(n_bytes, operator.like.device, f"the dense matrix of {operator!r}", instead)


class _DirectInverse(Inverse):
    """The LU factors of one operator, which solve with its transpose as well."""

    _solver: Direct

    def __init__(self, solver: Direct, operator: LinearOperator) -> None:
        super().__init__(solver, Dense(operator.to_dense(), symmetric=operator.symmetric))
        self._transposed = False
        self._lu = LU(self._operator.to_dense(), f"the matrix of {operator!r}")

    @cached_property
    def T(self) -> Inverse:
        """The inverse of the transposed operator, by the same factors."""
        if self._operator.symmetric:
            return self
        twin = copy(self)
        twin._operator, twin._transposed = self._operator.T, not self._transposed
        return twin

    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column, with one step of iterative refinement."""
        check_columns(self._operator, columns)
        x = self._solve(columns)
        x = x + self._solve(columns - self._operator.matmat(x))
        return self._checked(x, columns, 0, self._solver.tol)

    def _solve(self, columns: Tensor) -> Tensor:
        return self._lu.solve(columns, adjoint=self._transposed)
