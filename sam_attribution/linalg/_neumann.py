"""Solve by a Neumann series, which needs products and one vector of memory."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg._operator import LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Inverse, Solution
from sam_attribution.linalg._spectrum import ritz_values

_N_STEPS = 80  # of Arnoldi, to see the spectrum
_MARGIN = 1.05  # Ritz values lie inside the true spectrum
_TERMS, _MORE = 10, 1.5  # if so many terms do not contract they are done again, scale raised
_SLACK = 2.0  # the recursive residual is computed afresh at the end


class Neumann(BaseEstimator):
    """``x <- x + (b - A x) / scale``, the scale found by itself (deterministic LiSSA).

    The series converges if every eigenvalue e of `A` has a positive real part and
    ``|1 - e / scale| < 1``. Eigenvalue estimates of an Arnoldi basis tell both; the scale is the
    one under which the largest ``|1 - e / scale|`` is least. Symmetric or not makes no
    difference. Slow where eigenvalues are of very different size: prefer :class:`GMRES`.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach.
    max_iter : int, default=1000
        Terms of the series, at most: products with the operator, all right-hand sides at once.

    References
    ----------
    Agarwal, Bullins & Hazan, Second-Order Stochastic Optimization for Machine Learning in
    Linear Time, arXiv:1602.03943.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import Dense, Neumann
    >>> inverse = Neumann().prepare(Dense(torch.tensor([[2.0, 1.0], [0.0, 4.0]])))
    >>> inverse.matmat(torch.tensor([[4.0], [8.0]])).converged
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, tol: float = 1e-5, max_iter: int = 1000) -> None:
        self.tol = tol
        self.max_iter = max_iter

    def prepare(self, operator: LinearOperator) -> "_NeumannInverse":
        """Find the scale, in 80 products.

        Raises
        ------
        ValueError
            If an eigenvalue has no positive real part: the series would diverge for any scale.
        """
        check_parameters(self)
        check_operator(operator)
        return _NeumannInverse(self, operator)


class _NeumannInverse(Inverse):
    """An operator and the scale of its series."""

    _solver: Neumann

    def __init__(self, solver: Neumann, operator: LinearOperator) -> None:
        super().__init__(solver, operator)
        self.scale = _MARGIN * best_scale(operator, _N_STEPS, solver)

    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column."""
        check_columns(self._operator, columns)
        x, error, n_iter = torch.zeros_like(columns), columns, 0
        limit = self._solver.tol * _size(columns)
        while n_iter < self._solver.max_iter and bool((_size(error) > limit).any()):
            ahead, error_ahead = self._some_terms(x, error)
            n_iter += _TERMS
            if bool((_size(error_ahead) <= _size(error)).all()):
                x, error = ahead, error_ahead
            else:
                self.scale *= _MORE
        return self._checked(x, columns, n_iter, self._solver.tol * _SLACK)

    def _some_terms(self, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(_TERMS):
            step = error / self.scale
            x, error = x + step, error - self._operator.matmat(step)
        return x, error


def _size(columns: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(columns, dim=0)
    return norms


def best_scale(operator: LinearOperator, n_steps: int, solver: object) -> float:
    """The scale under which the largest ``|1 - e / scale|`` is least: convex in 1 / scale."""
    values = ritz_values(operator, n_steps)
    if values.real.min() <= 0:
        raise ValueError(
            f"{type(solver).__name__} needs eigenvalues with positive real part, {operator!r} has "
            f"one of {values.real.min():.2e}. Raise the damping by more than that, or use GMRES()."
        )
    diverges = (2 * values.real / np.abs(values) ** 2).min()

    def slowest(inverse_scale: float) -> float:
        return float(np.abs(1 - inverse_scale * values).max())

    found = minimize_scalar(slowest, bounds=(0, diverges), method="bounded")
    return float(1 / found.x)
