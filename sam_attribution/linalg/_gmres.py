"""Solve without a matrix: generalised minimal residuals (GMRES)."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse.linalg

from sam_attribution._validation import Interval
from sam_attribution.linalg._scipy_krylov import CountedProducts, ScipyKrylov


class GMRES(ScipyKrylov):
    """Restarted GMRES of scipy on any square operator, symmetric or not.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach. In float32 nothing below about 1e-6 can be.
    max_iter : int, default=200
        Products with the operator per right-hand side, at most (but for one per restart).
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

    def _attempt(self, A: CountedProducts, b: np.ndarray, n_products: int) -> Any:
        restart = min(self.restart, len(b), n_products)
        rounds = max(1, n_products // (restart + 1))
        return scipy.sparse.linalg.gmres(A, b, rtol=self.tol, restart=restart, maxiter=rounds)
