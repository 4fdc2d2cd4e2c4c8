"""The fixed point of SAM: the root of its gradient, by Newton's method."""

import math
from dataclasses import dataclass, replace

import torch

from sam_attribution.curvature import SAMPoint, sam_jacobian
from sam_attribution.linalg import SingularMatrix, default_solver

_HALVINGS = 20
_GAIN = 0.1  # largest ratio of residuals at which a used inverse is kept


class NoFixedPoint(ValueError):
    """Newton's method found no fixed point."""


class OutOfSteps(ValueError):
    """Newton's method needs more steps."""


@dataclass(frozen=True)
class Root:
    """A fixed point w, its residual ``||F(w)||``, and the inverse of a Jacobian near it."""

    params: torch.Tensor
    residual: float
    inverse: object


def fixed_point(problem, start, inverse=None, *, tol=1e-10, max_iter=100):
    """Solve ``F(w) = grad L(w + eps(grad L(w))) + lam w = 0`` until ``||F(w)|| <= tol``.

    A given `inverse` of a Jacobian near the root is used as long as each step reduces the residual
    to a tenth; after that the exact Jacobian (``curvature.sam_jacobian``) is inverted. Raises
    NoFixedPoint if no step reduces the residual any more, OutOfSteps if it was still falling.
    """
    point = SAMPoint(problem, w=start)
    for number in range(max_iter + 1):
        if point.stationarity() <= tol:
            return Root(point.w, point.stationarity(), inverse or _inverse_at(point))
        if number == max_iter:
            raise OutOfSteps(f"the residual is {point.stationarity():.1e} after {max_iter} steps")
        fresh = inverse is None
        inverse = inverse or _inverse_at(point)
        lower = _lower(point, inverse, _HALVINGS if fresh else 1)
        if lower is None and fresh:
            raise NoFixedPoint(f"the residual stays at {point.stationarity():.1e}")
        gains = lower is not None and lower.stationarity() <= _GAIN * point.stationarity()
        inverse = inverse if gains else None
        point = lower or point


def largest_radius(problem, start, **options):
    """``rho_max ~ ||H_0^{-1} lam w_0||_p``, above which SAM hardly ever has a fixed point.

    `w_0` is the minimiser of the decayed loss and `H_0` its Hessian there. None where the formula
    does not hold: other perturbations than ``PNorm`` with finite p.
    """
    p = getattr(problem.perturbation, "p", math.inf)
    if p == math.inf:
        return None
    plain = fixed_point(replace(problem, rho=0.0), start, **options)
    decay = (problem.weight_decay * plain.params)[:, None]
    inverse = _inverse_at(SAMPoint(replace(problem, rho=0.0), w=plain.params))
    return float(torch.linalg.vector_norm(inverse.matmat(decay).x, p))


def _inverse_at(point):
    jacobian = sam_jacobian(point, "full")
    try:
        return default_solver(jacobian.size).prepare(jacobian)
    except SingularMatrix as error:
        raise NoFixedPoint("the Jacobian there is singular") from error


def _lower(point, inverse, n_halvings):
    """Point along Newton's step where the residual is lower; None if there is none."""
    step = inverse.matmat(point.sam_gradient[:, None]).x[:, 0]
    for halving in range(n_halvings):
        size = 0.5**halving
        trial = SAMPoint(point.problem, w=point.w - size * step)
        if trial.stationarity() <= (1 - size / 2) * point.stationarity():
            return trial
    return None
