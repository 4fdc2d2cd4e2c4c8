"""TRAK: Gauss-Newton influence of the margin in a random projection."""

from numbers import Integral, Real

import torch

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.probes import Probe
from sam_attribution.problem import margin, row_gradients

_FRACTION = 0.1  # of the mean eigenvalue, as for EK-FAC


class TRAK(Method):
    """``phi(query)' (Phi' Phi + ridge)^-1 phi(row) (1 - p_row)``, gradients of margins projected.

    Row i of Phi is the gradient of row i's margin ``log p / (1 - p)`` times a random matrix. With
    ``evaluation="margin"`` in SAMInfluence the query side is TRAK's as published.

    Parameters
    ----------
    proj_dim : int, "auto" or None, default="auto"
        Columns of the projection, at most as many as rows. ``auto`` is half as many as rows, or
        512 if that is less. None projects nothing: a matrix of ``n_params**2`` numbers.
    ridge : "auto" or float, default="auto"
        Added to the diagonal of ``Phi' Phi``; ``auto`` is a tenth of its mean eigenvalue.
    weighted : bool, default=False
        Keep the rows' ``p (1 - p)`` in ``Phi' R Phi``, which the published method drops. With two
        classes, no projection and no ridge that is n times the Gauss-Newton matrix; with more
        classes one margin per row is not.
    at : {"w", "w+eps"}, default="w"
        Where row gradients are taken: at the trained parameters, or at the point where SAM takes
        its gradient (of the full batch). Queries are always asked at the trained parameters.
    random_state : int, default=0
        Of the projection.

    Notes
    -----
    No unit: trust sign and order. Cost: the gradient of each row alone, some MiB of them at a time,
    and ``n_params * proj_dim`` numbers; then one forward-mode pass per query. An ensemble, as
    published, is the mean of the scores of several trainings: pass a splitter as `validation`.

    References
    ----------
    Park et al., TRAK: Attributing Model Behavior at Scale, arXiv:2303.14186.

    Examples
    --------
    >>> from sam_attribution import SAMInfluence
    >>> from sam_attribution.methods import TRAK
    >>> influence = SAMInfluence(method=TRAK(proj_dim=64), evaluation="margin")
    """

    def __init__(self, *, proj_dim="auto", ridge="auto", weighted=False, at="w", random_state=0):
        self.proj_dim = proj_dim
        self.ridge = ridge
        self.weighted = weighted
        self.at = at
        self.random_state = random_state

    _parameter_constraints = {
        "proj_dim": [None, StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "ridge": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "weighted": ["boolean"],
        "at": AT,
        "random_state": [Interval(Integral, 0, None, closed="left")],
    }

    def prepare(self, problem):
        """Project the rows' gradients.

        Raises
        ------
        ValueError
            For an unknown option, a regression, more columns than rows, or a singular matrix.
        """
        check_parameters(self)
        if problem.n_classes is None:
            raise ValueError("TRAK needs the margin of a classifier, got a regression.")
        return _PreparedTRAK(self, problem)


class _PreparedTRAK(Prepared):
    def __init__(self, method, problem):
        self._problem = problem
        self._point = row_point(problem, method.at).perturbed
        self._projection = _projection(problem, method.proj_dim, method.random_state)
        gram = self._gram(method.weighted)
        mean = float(gram.diagonal().mean())
        ridge = _FRACTION * mean if method.ridge == "auto" else float(method.ridge)
        self._values, self._vectors = _decomposed(gram, ridge)
        self.diagnostics = {
            "scale": "no unit: trust sign and order",
            "damping": ridge,
            "damping_reason": f"{_FRACTION} of the mean eigenvalue of Phi' Phi"
            if method.ridge == "auto"
            else "given",
            "proj_dim": gram.shape[0],
        }

    def probes(self, queries):
        problem = self._problem
        v = self._down(queries.directions(problem.params, problem.buffers))
        rotated = self._vectors.T @ v.double() / self._values[:, None]
        solved = self._vectors @ rotated
        # the row side is a loss gradient, -(1 - p) times that of the margin; it has no 1/n
        return [
            Probe(self._point, self._up(solved.to(v)), problem.buffers, rate=problem.total_weight)
        ]

    def _gram(self, weighted):
        """``Phi' R Phi`` over the rows, R their weights, and ``p (1 - p)`` if asked for."""
        problem, total = self._problem, 0.0

        def own_margin(output, y):
            return -margin(problem.row_loss.to_logits(output), y)

        for rows, gradients in row_gradients(problem, self._point, own_margin):
            phi, shares = self._down(gradients.T).T.double(), problem.weights[rows].double()
            if weighted:
                with torch.no_grad():
                    logits = problem.logits(self._point, problem.buffers, problem.X[rows])
                    p = own_margin(logits, problem.y[rows]).double().sigmoid()
                shares = shares * p * (1 - p)
            total = total + phi.T @ (shares[:, None] * phi)
        return total

    def _down(self, columns):
        return columns if self._projection is None else self._projection.T @ columns

    def _up(self, columns):
        return columns if self._projection is None else self._projection @ columns


def _projection(problem, proj_dim, seed):
    """A seeded Gaussian matrix whose products keep lengths on average; None for the identity."""
    n_rows = int((problem.weights > 0).sum())
    if proj_dim == "auto":
        proj_dim = max(1, min(512, n_rows // 2))
    if proj_dim is None:
        return None
    if proj_dim > n_rows:
        raise ValueError(
            f"proj_dim must be at most the number of rows, {n_rows}, got {proj_dim}: Phi' Phi "
            "would not have full rank, and its inverse would be the ridge's."
        )
    generator = torch.Generator().manual_seed(seed)
    shape = (problem.layout.size, proj_dim)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(problem.params) / (
        proj_dim**0.5
    )


def _decomposed(gram, ridge):
    """Eigenvalues and eigenvectors of the damped matrix; raises if it has no inverse."""
    values, vectors = torch.linalg.eigh(gram)
    values = values + ridge
    if not values[0] > len(gram) * torch.finfo(gram.dtype).eps * values[-1]:
        raise ValueError(f"Phi' Phi is singular or not finite with ridge={ridge}. Raise the ridge.")
    return values, vectors
