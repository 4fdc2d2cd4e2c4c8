"""Solve without a matrix and without a basis: stabilised biconjugate gradients (BiCGSTAB)."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse.linalg

from sam_attribution._validation import Interval
from sam_attribution.linalg._scipy_krylov import CountedProducts, ScipyKrylov


class BiCGSTAB(ScipyKrylov):
    """BiCGSTAB of scipy on any square operator, symmetric or not.

    Where the basis of :class:`GMRES` does not fit into memory: this takes a handful of vectors. It
    may wander, or break down, where GMRES would get there.

    Parameters
    ----------
    tol : float, default=1e-5
        Relative residual to reach. In float32 nothing below about 1e-6 can be.
    max_iter : int, default=200
        Products with the operator per right-hand side, at most; a step takes two.

    References
    ----------
    van der Vorst, Bi-CGSTAB, doi:10.1137/0913035.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.linalg import BiCGSTAB, Dense
    >>> inverse = BiCGSTAB().prepare(Dense(torch.tensor([[2.0, 1.0], [0.0, 4.0]])))
    >>> inverse.matmat(torch.tensor([[4.0], [8.0]])).converged
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, *, tol: float = 1e-5, max_iter: int = 200) -> None:
        self.tol = tol
        self.max_iter = max_iter

    def _attempt(self, A: CountedProducts, b: np.ndarray, n_products: int) -> Any:
        return scipy.sparse.linalg.bicgstab(A, b, rtol=self.tol, maxiter=max(1, n_products // 2))
