"""Solve symmetric systems, definite or not: minimal residuals (MINRES)."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse.linalg

from sam_attribution._validation import Interval
from sam_attribution.linalg._operator import LinearOperator, check_symmetric
from sam_attribution.linalg._scipy_krylov import CountedProducts, ScipyKrylov


class MINRES(ScipyKrylov):
    """MINRES of scipy on a symmetric operator, whatever the signs of its eigenvalues.

    For Hessians, which are seldom positive definite; memory is a handful of vectors. Where
    eigenvalues are positive :class:`CG` is as quick and takes all right-hand sides at once.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach. In float32 nothing below about 1e-6 can be.
    max_iter : int, default=200
        Products with the operator per right-hand side, at most (but for one per start).

    References
    ----------
    Paige & Saunders, Solution of sparse indefinite systems of linear equations,
    doi:10.1137/0712047.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import Dense, MINRES
    >>> saddle = Dense(torch.tensor([[2.0, 1.0], [1.0, -4.0]]), symmetric=True)
    >>> MINRES().prepare(saddle).matmat(torch.tensor([[4.0], [8.0]])).converged
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, *, tol: float = 1e-5, max_iter: int = 200) -> None:
        self.tol = tol
        self.max_iter = max_iter

    def _check_structure(self, operator: LinearOperator) -> None:
        check_symmetric(operator, self)

    def _attempt(self, A: CountedProducts, b: np.ndarray, n_products: int) -> Any:
        return scipy.sparse.linalg.minres(A, b, rtol=self.tol, maxiter=n_products)
