"""Solve without a matrix: generalised minimal residuals (GMRES)."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse.linalg
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg._operator import LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Solution, checked_solution


class GMRES(BaseEstimator):
    """Restarted GMRES of scipy on any square operator, symmetric or not.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach. In float32 nothing below about 1e-6 can be.
    max_iter : int, default=200
        Products with the operator per right-hand side, at most.
    restart : int, default=50
        Length of the Krylov basis: memory is ``restart * size`` numbers.

    References
    ----------
    Saad & Schultz, GMRES, doi:10.1137/0907058.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import Dense, GMRES
    >>> inverse = GMRES().prepare(Dense(torch.tensor([[2.0, 1.0], [0.0, 4.0]])))
    >>> inverse.matmat(torch.tensor([[4.0], [8.0]])).converged
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "restart": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, tol: float = 1e-5, max_iter: int = 200, restart: int = 50) -> None:
        self.tol = tol
        self.max_iter = max_iter
        self.restart = restart

    def prepare(self, operator: LinearOperator) -> "_GMRESInverse":
        """Wrap `operator`: nothing is computed before the first right-hand side."""
        check_parameters(self)
        check_operator(operator)
        return _GMRESInverse(self, operator)


class _GMRESInverse:
    """An operator and the settings to solve with."""

    def __init__(self, solver: GMRES, operator: LinearOperator) -> None:
        self._solver = solver
        self._operator = operator

    def matmat(self, columns: Tensor) -> Solution:
        """Solve column by column."""
        check_columns(self._operator, columns)
        solved = [self._solve(column) for column in columns.T]
        x = torch.stack([column for column, _ in solved], dim=1)
        n_iter = max(count for _, count in solved)
        return checked_solution(
            self._solver, self._operator, x, columns, n_iter, self._solver.tol * _SLACK
        )

    def _solve(self, b: Tensor) -> tuple[Tensor, int]:
        steps: list[float] = []
        restart = int(min(self._solver.restart, self._operator.size))
        x, _ = scipy.sparse.linalg.gmres(
            as_scipy(self._operator),
            b.double().cpu().numpy(),
            rtol=self._solver.tol,
            restart=restart,
            maxiter=-(-self._solver.max_iter // restart),
            callback=steps.append,
            callback_type="pr_norm",
        )
        return torch.as_tensor(x).to(b), len(steps)


# scipy measures the recursive residual; ours is recomputed in the operator's own precision
_SLACK = 2.0


def as_scipy(operator: LinearOperator) -> scipy.sparse.linalg.LinearOperator:
    """View a torch operator as scipy's, in float64 on the CPU."""

    def matvec(v: np.ndarray) -> np.ndarray:
        product = operator.matvec(torch.as_tensor(v.ravel()).to(operator.like))
        return product.double().cpu().numpy()

    shape = (operator.size, operator.size)
    return scipy.sparse.linalg.LinearOperator(shape, matvec=matvec, dtype=np.float64)
