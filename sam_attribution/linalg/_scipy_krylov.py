"""Base of scipy's iterative solvers: one right-hand side after another, products counted."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import check_parameters
from sam_attribution.linalg._operator import LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Inverse, Solution

# the residual that stops the loop is measured in float64, the one that is judged in the
# operator's own precision
_SLACK = 2.0


class ScipyKrylov(BaseEstimator, ABC):
    """A solver of scipy's, started again from where it stops until the true residual is small.

    Subclasses have the parameters `tol` and `max_iter`, products per right-hand side.
    """

    tol: float
    max_iter: int

    def prepare(self, operator: LinearOperator) -> "ScipyInverse":
        """Wrap `operator`: nothing is computed before the first right-hand side."""
        check_parameters(self)
        check_operator(operator)
        self._check_structure(operator)
        return ScipyInverse(self, operator)

    def _check_structure(self, operator: LinearOperator) -> None:
        """Raise a ValueError for an operator that this solver cannot solve."""

    @abstractmethod
    def _attempt(self, A: "CountedProducts", b: np.ndarray, n_products: int) -> Any:
        """Call scipy once, for `n_products` at most; return its pair of solution and status."""


class ScipyInverse(Inverse):
    """An operator and the solver to call."""

    _solver: ScipyKrylov

    def matmat(self, columns: Tensor) -> Solution:
        """Solve column by column."""
        check_columns(self._operator, columns)
        solved = [self._solve(column.double().cpu().numpy()) for column in columns.T]
        x = torch.as_tensor(np.stack([column for column, _ in solved], axis=1)).to(columns)
        n_products = max(count for _, count in solved)
        return self._checked(x, columns, n_products, self._solver.tol * _SLACK)

    def _solve(self, b: np.ndarray) -> tuple[np.ndarray, int]:
        A, limit = CountedProducts(self._operator), self._solver.max_iter
        goal, x, error = self._solver.tol * np.linalg.norm(b), np.zeros_like(b), b
        while np.linalg.norm(error) > goal and A.count < limit:
            correction, _ = self._solver._attempt(A, error, limit - A.count)
            ahead = x + correction
            error_ahead = b - A.matvec(ahead)
            if not np.linalg.norm(error_ahead) < np.linalg.norm(error):
                break  # as good as the operator's precision allows
            x, error = ahead, error_ahead
        return x, A.count


class CountedProducts(scipy.sparse.linalg.LinearOperator):
    """A torch operator as scipy's, in float64 on the CPU, that counts its products."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(np.float64, (operator.size, operator.size))
        self.count = 0
        self._torch = operator

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        self.count += 1
        product = self._torch.matvec(torch.as_tensor(v.ravel()).to(self._torch.like))
        return product.double().cpu().numpy()
