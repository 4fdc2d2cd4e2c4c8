"""Solve symmetric positive definite systems: conjugate gradients (CG)."""

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._validation import HasMethods, Interval, check_parameters
from sam_attribution.linalg._operator import (
    LinearOperator,
    check_columns,
    check_operator,
    check_symmetric,
)
from sam_attribution.linalg._solution import Inverse, Solution, Solver

_PROGRESS = 0.5  # a new start has to bring the residual down to this part of what it was
_SLACK = 2.0  # of the tolerance: beyond it the solution has not converged


class CG(BaseEstimator):
    """Preconditioned conjugate gradients, all right-hand sides in one product.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach, of every right-hand side. In float32 nothing below about 1e-6
        can be.
    max_iter : int, default=200
        Steps, at most; each is one product with the operator for all right-hand sides at once.
    preconditioner : solver, optional
        Prepared for the same operator; what it makes of a residual is taken for the solution's
        error. Must be symmetric and positive definite too, such as ``Arnoldi(measured=False)``.

    References
    ----------
    Hestenes & Stiefel, Methods of Conjugate Gradients for Solving Linear Systems,
    doi:10.6028/jres.049.044.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import CG, Dense
    >>> inverse = CG().prepare(
    ...     Dense(torch.tensor([[2.0, 1.0], [1.0, 4.0]]), symmetric=True)
    ... )
    >>> inverse.matmat(torch.tensor([[4.0], [9.0]])).x.ravel().round(decimals=3)
    tensor([1., 2.])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "preconditioner": [None, HasMethods("prepare")],
    }

    def __init__(
        self, *, tol: float = 1e-5, max_iter: int = 200, preconditioner: Solver | None = None
    ) -> None:
        self.tol = tol
        self.max_iter = max_iter
        self.preconditioner = preconditioner

    def prepare(self, operator: LinearOperator) -> "_CGInverse":
        """Check the structure, and prepare the preconditioner.

        Raises
        ------
        ValueError
            If `operator` is not symmetric. That it is not positive definite shows on the way:
            then the inverse raises it.
        """
        check_parameters(self)
        check_operator(operator)
        check_symmetric(operator, self)
        inner = None if self.preconditioner is None else self.preconditioner.prepare(operator)
        return _CGInverse(self, operator, inner)


class _CGInverse(Inverse):
    """An operator, its approximate inverse, and the settings to solve with."""

    _solver: CG

    def __init__(self, solver: CG, operator: LinearOperator, inner: Inverse | None) -> None:
        super().__init__(solver, operator)
        self._inner = inner

    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column."""
        check_columns(self._operator, columns)
        goal = self._solver.tol * torch.linalg.vector_norm(columns, dim=0)
        x, error, n_iter, last = torch.zeros_like(columns), columns, 0, math.inf
        while n_iter < self._solver.max_iter:
            x, n_iter = self._descend(x, error, goal, n_iter)
            error = columns - self._operator.matmat(x)  # what is carried along drifts away from it
            norms = torch.linalg.vector_norm(error, dim=0)
            worst = float((norms / torch.where(goal == 0, 1.0, goal)).max())
            if worst <= 1 or worst > _PROGRESS * last:
                break
            last = worst
        return self._checked(x, columns, n_iter, self._solver.tol * _SLACK)

    def _descend(self, x: Tensor, error: Tensor, goal: Tensor, n_iter: int) -> tuple[Tensor, int]:
        """Steps from `x` until the residual that is carried along is small enough."""
        guess = self._guess(error)
        direction, fall = guess, _dots(error, guess)
        while n_iter < self._solver.max_iter:
            open_ = torch.linalg.vector_norm(error, dim=0) > goal
            if not bool(open_.any()):
                break
            self._check_preconditioner(fall[open_])
            product = torch.zeros_like(direction)
            product[:, open_] = self._operator.matmat(direction[:, open_])
            quadratic = _dots(direction, product)
            self._check_definite(quadratic[open_], direction[:, open_])
            # columns that are there stay there
            step = torch.where(open_, fall / torch.where(open_, quadratic, 1.0), 0.0)
            x, error, n_iter = x + step * direction, error - step * product, n_iter + 1
            guess = self._guess(error)
            fall, before = _dots(error, guess), fall
            direction = guess + torch.where(open_, fall / before, 0.0) * direction
        return x, n_iter

    def _guess(self, error: Tensor) -> Tensor:
        return error if self._inner is None else self._inner.matmat(error).x

    def _check_preconditioner(self, fall: Tensor) -> None:
        if not bool((fall > 0).all()):
            raise ValueError(
                "preconditioner must be a positive definite inverse, got "
                f"{self._solver.preconditioner!r}, for which a residual r has <r, M r> = "
                f"{float(fall.min()):.2e}. Give it a damped operator, or leave it out."
            )

    def _check_definite(self, quadratic: Tensor, direction: Tensor) -> None:
        curvature = float((quadratic / _dots(direction, direction)).min())
        if not curvature > 0:
            raise ValueError(
                f"CG needs a positive definite operator, {self._operator!r} has a curvature of "
                f"{curvature:.2e} along one of its directions. Raise the damping by more than "
                "that, or use MINRES()."
            )


def _dots(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=0)
