"""The ascent step of Sharpness-Aware Minimization and its derivatives.

Everything here knows flat vectors only: ``w`` (parameters), ``g`` (gradient), both
``(n_params,)``. Only a perturbation object knows how eps depends on them.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

__all__ = ["Adaptive", "PNorm", "Perturbation"]


class Perturbation(BaseEstimator):
    """Base class: subclasses give :meth:`eps`, the products come from ``torch.func``.

    A subclass that knows its derivative in closed form overrides :meth:`jvp` and
    :meth:`vjp` as well. Written as matrices, ``D = d eps / d g`` and ``E = d eps / d w``
    at fixed ``g``.
    """

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        """Ascent step at parameters `w` with gradient `g`, shape (n_params,)."""
        raise NotImplementedError(f"{type(self).__name__} must define eps(w, g, rho).")

    def jvp(self, w: Tensor, g: Tensor, rho: float, dw: Tensor, dg: Tensor) -> Tensor:
        """Product ``E dw + D dg``, shape (n_params,)."""
        product: Tensor = torch.func.jvp(self._at(rho), (w, g), (dw, dg))[1]
        return product

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        """Products ``(E'u, D'u)``, each of shape (n_params,)."""
        products: tuple[Tensor, Tensor] = torch.func.vjp(self._at(rho), w, g)[1](u)
        return products

    def _at(self, rho: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda w, g: self.eps(w, g, rho)


class PNorm(Perturbation):
    """The point of the p-norm ball of radius rho that raises the linearised loss most.

    Parameters
    ----------
    p : float, default=2
        Norm of the ball, ``1 < p <= inf``. ``2`` is SAM as published, ``inf`` moves every
        parameter by rho. Zero at zero gradient.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412, eq. 2.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution.perturbation import PNorm
    >>> PNorm(p=2).eps(torch.zeros(2), torch.tensor([3.0, 4.0]), rho=0.5)
    tensor([0.3000, 0.4000])
    """

    def __init__(self, p: float = 2) -> None:
        self.p = p

    @property
    def _q(self) -> float:
        """Dual exponent, 1/p + 1/q = 1."""
        if not isinstance(self.p, Real) or not self.p > 1:
            raise ValueError(f"p must be above 1 (up to inf), got p={self.p!r}.")
        return 1.0 if self.p == math.inf else self.p / (self.p - 1)

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        q = self._q
        if q == 1:
            return rho * g.sign()
        if q == 2:  # the same without magnitudes: half the passes over g
            return rho * _scaled(g, q)
        return rho * g.sign() * _scaled(g.abs(), q) ** (q - 1)

    def jvp(self, w: Tensor, g: Tensor, rho: float, dw: Tensor, dg: Tensor) -> Tensor:
        return self._derivative(g, rho, dg)

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(w), self._derivative(g, rho, u)

    def _derivative(self, g: Tensor, rho: float, v: Tensor) -> Tensor:
        """D v, with D = ((q-1)/N) [rho diag((|g|/N)^(q-2)) - eps eps'/rho], symmetric."""
        q, norm = self._q, _dual_norm(g, self._q)
        if q == 1:
            return torch.zeros_like(v)
        magnitude = _scaled(g.abs(), q)
        diagonal = magnitude ** (q - 2)
        if q < 2:
            # p > 2: at g_i = 0 formula and autodiff are infinite; row and column i of D are 0
            diagonal = torch.where(g == 0, torch.zeros_like(g), diagonal)
        direction = g.sign() * magnitude ** (q - 1)  # eps / rho
        return (q - 1) * rho * _over(diagonal * v - direction * (direction @ v), norm)


class Adaptive(Perturbation):
    """Scale-invariant ascent (ASAM): the ball is measured in units of ``|w| + eta``.

    Parameters
    ----------
    eta : float, default=0.01
        Added to ``|w|`` so that a zero weight still moves.

    References
    ----------
    Kwon et al., ASAM, arXiv:2102.11600.
    """

    def __init__(self, eta: float = 0.01) -> None:
        self.eta = eta

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        t = self._scale(w)
        # divided by the largest entry first: squares of small gradients vanish in float32
        scaled = _over(t * g, (t * g).abs().max())
        return rho * t * _over(scaled, torch.linalg.vector_norm(scaled))

    def jvp(self, w: Tensor, g: Tensor, rho: float, dw: Tensor, dg: Tensor) -> Tensor:
        t, tg, unit, norm = self._parts(w, g)
        along_g = t * t * dg - t * tg * (unit @ _over(t * dg, norm))
        along_w = 2 * w.sign() * tg * dw - t * tg * (unit @ _over(g * w.sign() * dw, norm))
        return rho * _over(along_g + along_w, norm)

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        t, tg, unit, norm = self._parts(w, g)
        along_u = (t * unit) @ u
        back_g = t * t * u - t * unit * along_u
        back_w = 2 * w.sign() * tg * u - g * w.sign() * unit * along_u
        return rho * _over(back_w, norm), rho * _over(back_g, norm)

    def _scale(self, w: Tensor) -> Tensor:
        if not isinstance(self.eta, Real) or not 0 <= self.eta <= torch.finfo(w.dtype).max:
            raise ValueError(f"eta must be a number of at least 0, got eta={self.eta!r}.")
        return w.abs() + float(self.eta)

    def _parts(self, w: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        t = self._scale(w)
        tg = t * g
        norm = _dual_norm(tg, 2)
        return t, tg, _over(tg, norm), norm


class _Custom(Perturbation):
    """A user's object that has ``eps`` alone: its products come from ``torch.func``."""

    def __init__(self, perturbation: Any) -> None:
        self.perturbation = perturbation

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        eps: Tensor = self.perturbation.eps(w, g, rho)
        return eps


def as_perturbation(perturbation: Any) -> Any:
    """Perturbation for a name or an object with ``eps``; ``jvp`` and ``vjp`` are optional."""
    named = {"l2": PNorm(2), "linf": PNorm(math.inf), "adaptive": Adaptive()}
    if isinstance(perturbation, str) and perturbation in named:
        return named[perturbation]
    if not callable(getattr(perturbation, "eps", None)) or isinstance(perturbation, type):
        raise ValueError(
            f"perturbation must be one of {sorted(named)} or an object with eps(w, g, rho), "
            f"got {perturbation!r}."
        )
    complete = all(callable(getattr(perturbation, name, None)) for name in ("jvp", "vjp"))
    return perturbation if complete else _Custom(perturbation)


def _over(vector: Tensor, number: Tensor) -> Tensor:
    """Quotient, zero where `number` is: written without branches, so that vmap can batch it."""
    return vector / torch.where(number == 0, torch.inf, number)


def _dual_norm(g: Tensor, q: float) -> Tensor:
    """||g||_q, safe for small entries; 0 at zero gradient."""
    peak = g.abs().max()
    norm: Tensor = peak * torch.linalg.vector_norm(_over(g, peak), q)
    return norm


def _scaled(g: Tensor, q: float) -> Tensor:
    """Quotient g / ||g||_q, zero at zero gradient. Largest entry 1 first (float32)."""
    scaled = _over(g, g.abs().max())
    return _over(scaled, torch.linalg.vector_norm(scaled, q))
