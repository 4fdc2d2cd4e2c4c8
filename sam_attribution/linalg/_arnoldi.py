"""Solve in a small subspace that is found once, for many right-hand sides."""

from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg._factorisation import LU, eigenvalues
from sam_attribution.linalg._operator import Damped, LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Inverse, Solution
from sam_attribution.linalg._spectrum import krylov_basis, spectrum_of


class Arnoldi(BaseEstimator):
    """Invert an operator in a Krylov subspace; outside it one number stands for the operator.

    That is the damping, or the smallest eigenvalue that shows if that is more: weight decay
    counts there as well. Takes any square operator. For many right-hand sides that need not be
    solved exactly: all the products are spent in advance.

    Parameters
    ----------
    n_steps : int, default=80
        Products with the operator to prepare, and size of the subspace: memory is
        ``n_steps * size`` numbers.
    tol : float, default=0.3
        A relative residual above this warns.
    measured : bool, default=True
        Spend a product on the residual of every solution. Without, `residual` is NaN
        and nothing warns: a solution is two products with the basis.

    References
    ----------
    Schioppa et al., Scaling Up Influence Functions, arXiv:2112.03052, which leaves out what is
    outside the subspace.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import Arnoldi, Damped, Dense
    >>> operator = Damped(Dense(torch.tensor([[1.0, 1.0], [0.0, 3.0]])), 1.0)
    >>> Arnoldi().prepare(operator).matmat(
    ...     torch.tensor([[4.0], [8.0]])
    ... ).x.ravel().round(decimals=3)
    tensor([1., 2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "measured": ["boolean"],
    }

    def __init__(self, *, n_steps: int = 80, tol: float = 0.3, measured: bool = True) -> None:
        self.n_steps = n_steps
        self.tol = tol
        self.measured = measured

    def prepare(self, operator: LinearOperator) -> "_ArnoldiInverse":
        """Find the subspace.

        Raises
        ------
        ValueError
            If the subspace is not everything, and the operator neither ``Damped`` nor one whose
            eigenvalues have real parts above 1e-4 of the largest modulus.
        """
        check_parameters(self)
        check_operator(operator)
        return _ArnoldiInverse(self, operator)


class _ArnoldiInverse(Inverse):
    """A basis, the operator in it, and the number that stands for it outside."""

    _solver: Arnoldi

    def __init__(self, solver: Arnoldi, operator: LinearOperator) -> None:
        super().__init__(solver, operator)
        self._basis, hessenberg = krylov_basis(operator, solver.n_steps)
        matrix = torch.as_tensor(hessenberg)
        damping = operator.damping if isinstance(operator, Damped) else 0.0
        self._outside = max(damping, _smallest(matrix, f"the matrix of {operator!r}"))
        if len(self._basis) < operator.size and self._outside <= 0:
            raise ValueError(
                f"Arnoldi needs a damping for {operator!r}, which has eigenvalues near 0 or "
                "below. Give a damping above 0, or use GMRES()."
            )
        self._lu = LU(matrix.to(self._basis), f"the matrix of {operator!r}")

    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column."""
        check_columns(self._operator, columns)
        inside = self._basis @ columns
        x = self._basis.T @ self._lu.solve(inside)
        if len(self._basis) < self._operator.size:
            x = x + (columns - self._basis.T @ inside) / self._outside
        if not self._solver.measured:
            return Solution(x, True, 0, float("nan"))
        return self._checked(x, columns, len(self._basis), self._solver.tol)


def _smallest(matrix: Tensor, what: str) -> float:
    """Smallest real part of the eigenvalues, 0 if that is hardly above 0."""
    spectrum = spectrum_of(eigenvalues(matrix, what))
    return 0.0 if spectrum.needs_damping else spectrum.leftmost
