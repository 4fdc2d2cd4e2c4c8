"""The Jacobian of the SAM gradient ``F(w) = grad L(w + eps(w, grad L(w))) + lam w``."""

from functools import cached_property

import torch

from sam_attribution.curvature._head_hessian import HeadFisher, HeadHessian
from sam_attribution.curvature._hessian import EmpiricalFisher, GaussNewton, Hessian
from sam_attribution.linalg import (
    BlockDiagonal,
    Damped,
    Diagonal,
    LinearOperator,
    Restricted,
    Scaled,
)

VARIANTS = ("fast", "full", "paper")
BLOCKS = ("layer", "none")
CURVATURES = {"hessian": Hessian, "ggn": GaussNewton, "fisher": EmpiricalFisher}
# the logits are linear in the head's numbers, so Hessian and Gauss-Newton matrix are one there
_OF_HEAD = {"hessian": HeadHessian, "ggn": HeadHessian, "fisher": HeadFisher}


class EpsDerivative(LinearOperator):
    """``d eps / d w`` at fixed gradient or ``d eps / d g`` at fixed w, or its transpose."""

    def __init__(self, point, by, *, transposed=False):
        super().__init__(point.w, symmetric=False)
        self._point = point
        self._by = by
        self._transposed = transposed

    def matvec(self, v):
        problem, place = self._point.problem, ("w", "g").index(self._by)
        at = self._point.w, self._point.gradient, problem.rho
        if self._transposed:
            return problem.perturbation.vjp(*at, v)[place]
        directions = [torch.zeros_like(v), torch.zeros_like(v)]
        directions[place] = v
        return problem.perturbation.jvp(*at, *directions)

    def _transpose(self):
        return EpsDerivative(self._point, self._by, transposed=not self._transposed)


class SAMPoint:
    """A point ``w``, the mean gradient of some rows there, and the perturbed point ``w + eps``.

    Parameters
    ----------
    problem : Problem
    curvature : {"hessian", "ggn", "fisher"}, default="hessian"
    blocks : {"none", "layer"}, default="none"
        ``layer`` sets what couples the parameters of one module with those of others to 0.
    w : Tensor of shape (n_params,), optional
        By default the trained parameters.
    rows : Tensor of positions, optional
        The batch that all means are over; all rows if None.
    """

    def __init__(self, problem, curvature="hessian", *, blocks="none", w=None, rows=None):
        if curvature not in CURVATURES:
            raise ValueError(f"curvature must be one of {sorted(CURVATURES)}, got {curvature!r}.")
        if blocks not in BLOCKS:
            raise ValueError(f"blocks must be one of {BLOCKS}, got {blocks!r}.")
        self.problem = problem
        self.w = problem.params if w is None else w
        self.curvature = curvature
        self.blocks = blocks
        self.rows = rows

    @cached_property
    def gradient(self):
        """``g = grad L(w)``, without weight decay."""
        return self.problem.mean_gradient(self.w, self.problem.buffers, self.rows)

    @cached_property
    def perturbed(self):
        """``w + eps(w, g)``."""
        problem = self.problem
        if problem.rho == 0:
            return self.w
        return self.w + problem.perturbation.eps(self.w, self.gradient, problem.rho)

    @property
    def H(self):
        """Curvature at ``w``."""
        return self._curvature_at(self.w)

    @property
    def H_perturbed(self):
        """Curvature at ``w + eps``."""
        return self._curvature_at(self.perturbed)

    def _curvature_at(self, w):
        problem, rows = self.problem, self.rows
        whole = CURVATURES[self.curvature](problem, w, rows)
        if rows is not None:  # these have a share of the mean over all
            whole = Scaled(whole, problem.total_weight / (problem.weight_of(rows) or 1.0))
        if self.blocks == "none":
            return whole
        return BlockDiagonal(whole, list(problem.layout.layers().values()))

    @property
    def D(self):
        """``d eps / d g``."""
        return EpsDerivative(self, "g")

    @property
    def E(self):
        """``d eps / d w`` at fixed gradient; zero for p-norms."""
        return EpsDerivative(self, "w")

    @property
    def decay(self):
        """Weight decay as an operator."""
        return Diagonal(torch.zeros_like(self.w) + self.problem.weight_decay)

    @cached_property
    def sam_gradient(self):
        """``F(w)``, with weight decay: zero at a fixed point of SAM."""
        gradient = self.problem.mean_gradient(self.perturbed, self.problem.buffers, self.rows)
        return gradient + self.problem.weight_decay * self.w

    def stationarity(self):
        """Norm of ``F(w)``."""
        return float(self.sam_gradient.norm())

    def relative_stationarity(self, sam_gradient=None, n_rows=64):
        """Norm of ``F(w)``, relative to the norms of single rows' gradients at ``w + eps``.

        ``F(w)`` is that of this point if `sam_gradient` is not given. The rows' norm is the root
        mean square over up to `n_rows` of them, evenly spaced. The ratio has no unit: squared
        errors of targets in other units have the same.
        """
        problem = self.problem
        n_rows = min(n_rows, len(problem.y))
        rows = torch.arange(n_rows, device=problem.y.device) * len(problem.y) // n_rows
        gradients = [
            problem.mean_gradient(self.perturbed, problem.buffers, row) for row in rows.split(1)
        ]
        typical = torch.stack([g.norm() for g in gradients]).double().square().mean().sqrt()
        norm = self.stationarity() if sam_gradient is None else float(sam_gradient.norm())
        return norm / max(float(typical), torch.finfo(torch.float64).tiny)


def sam_jacobian(point, variant):
    """``dF/dw`` at a :class:`SAMPoint`: exact, or as one of the paper's approximations.

    ``full``: ``H~ (I + D H + E) + lam``, the exact derivative. ``paper``: ``(H~ + lam)(I + D H)``.
    ``fast``: ``H~ + lam``, the only one that is symmetric. Equal where D = E = 0.

    References
    ----------
    arXiv:2507.04059, theorems 4.3 (fast) and 4.5 (paper).
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}.")
    if variant == "fast" or point.problem.rho == 0:
        return point.H_perturbed + point.decay
    moved = Damped(point.D @ point.H, 1.0)
    if variant == "paper":
        return (point.H_perturbed + point.decay) @ moved
    return point.H_perturbed @ (moved + point.E) + point.decay


def attributed_jacobian(point, variant):
    """The block of :func:`sam_jacobian` that belongs to the attributed parameters.

    For the head of a model, ``fast`` (and every variant at rho = 0) has a closed form, whose
    products cost no pass over the rows.
    """
    problem = point.problem
    if point.rows is None and has_closed_form(problem, variant):
        decay = Diagonal(point.decay.diagonal[problem.selected])
        return _OF_HEAD[point.curvature](problem, point.perturbed) + decay
    jacobian = sam_jacobian(point, variant)
    return jacobian if problem.selected is None else Restricted(jacobian, problem.selected)


def has_closed_form(problem, variant):
    """True if :func:`attributed_jacobian` takes no derivative of the module twice, for all rows."""
    return problem.head is not None and (variant == "fast" or problem.rho == 0)
