"""Solve by a Neumann series of random rows: LiSSA."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution._seeding import integer_seed
from sam_attribution._validation import Interval, check_parameters
from sam_attribution.linalg._neumann import best_scale
from sam_attribution.linalg._operator import LinearOperator, check_columns, check_operator
from sam_attribution.linalg._solution import Inverse, Solution

_N_STEPS = 20  # of Arnoldi, to see the spectrum of all rows
_MARGIN = 2.0  # some rows curve more than all of them do on average
_FAR, _MORE = 1e3, 2.0  # grown by so much the series is begun again, scale raised


class LiSSA(BaseEstimator):
    """``x <- x + (b - A_t x) / scale``, with the operator A_t of other random rows at every term.

    Cheap terms, and an answer that is noisy to about one in the root of their number: the mean of
    the last half of the terms is taken, and of `n_repeats` series. The scale is found by itself,
    as in :class:`Neumann`, and likewise eigenvalues must have positive real parts.

    Parameters
    ----------
    n_terms : int, default=1000
    batch_size : int, default=64
        Rows of a term.
    n_repeats : int, default=1
    tol : float, default=0.3
        A relative residual above this warns, measured with all rows.
    random_state : int, RandomState or None, default=None
        Seed of the rows. An inverse once prepared draws the same rows whenever it is asked.

    Notes
    -----
    Cost: 20 products with all rows in advance, one at the end to measure the residual, and
    ``n_terms * n_repeats`` with `batch_size` rows, all right-hand sides at once.

    References
    ----------
    Agarwal, Bullins & Hazan, Second-Order Stochastic Optimization for Machine Learning in
    Linear Time, arXiv:1602.03943; Koh & Liang, arXiv:1703.04730.

    Examples
    --------
    >>> from sam_attribution.linalg import LiSSA
    >>> from sam_attribution.methods import InfluenceFunction
    >>> InfluenceFunction(solver=LiSSA(batch_size=32), curvature="ggn")
    InfluenceFunction(curvature='ggn', solver=LiSSA(batch_size=32))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_terms": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        n_terms: int = 1000,
        batch_size: int = 64,
        n_repeats: int = 1,
        tol: float = 0.3,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_terms = n_terms
        self.batch_size = batch_size
        self.n_repeats = n_repeats
        self.tol = tol
        self.random_state = random_state

    def prepare(self, operator: LinearOperator) -> "_LiSSAInverse":
        """Find the scale, in 20 products.

        Raises
        ------
        ValueError
            If an eigenvalue has no positive real part: the series would diverge for any scale.
        """
        check_parameters(self)
        check_operator(operator)
        return _LiSSAInverse(self, operator)


class _LiSSAInverse(Inverse):
    """An operator, the scale of its series and the seed of its rows."""

    _solver: LiSSA

    def __init__(self, solver: LiSSA, operator: LinearOperator) -> None:
        super().__init__(solver, operator)
        self._seed = integer_seed(solver.random_state)
        self.scale = _MARGIN * best_scale(operator, _N_STEPS, solver)

    def matmat(self, columns: Tensor) -> Solution:
        """Solve for every column, with the same rows whenever it is asked."""
        check_columns(self._operator, columns)
        while (x := self._mean_of_series(columns)) is None:
            self.scale *= _MORE
        n_iter = self._solver.n_terms * self._solver.n_repeats
        return self._checked(x, columns, n_iter, self._solver.tol)

    def _mean_of_series(self, columns: Tensor) -> Tensor | None:
        """Mean over the repeated series, None if one of them diverges."""
        generator = torch.Generator().manual_seed(self._seed)
        total, repeats = torch.zeros_like(columns), self._solver.n_repeats
        for _ in range(repeats):
            series = self._series(columns, generator)
            if series is None:
                return None
            total += series / repeats
        return total

    def _series(self, columns: Tensor, generator: torch.Generator) -> Tensor | None:
        n_terms = self._solver.n_terms
        far = _FAR * n_terms / self.scale * columns.norm()
        x, mean, kept = torch.zeros_like(columns), torch.zeros_like(columns), 0
        for number in range(n_terms):
            some = self._operator.sampled(self._solver.batch_size, generator)
            x = x + (columns - some.matmat(x)) / self.scale
            if not x.norm() <= far:
                return None
            if number >= n_terms // 2:
                mean, kept = mean + x, kept + 1
        return mean / kept
