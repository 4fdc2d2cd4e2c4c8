"""The ascent step of Sharpness-Aware Minimization and its derivatives.

Vectors are flat: ``w`` (parameters), ``g`` (gradient), both ``(n_params,)``. Only a perturbation
object knows how eps depends on them.
"""

import copy
import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sam_attribution.parameters import ParameterLayout, matching

__all__ = ["Adaptive", "Masked", "PNorm", "Perturbation"]

_N_SHOWN = 12  # names of parameters in an error


class Perturbation(BaseEstimator):
    """Base class: subclasses give :meth:`eps`, the products come from ``torch.func``.

    A subclass that knows its derivative in closed form overrides :meth:`jvp` and
    :meth:`vjp` as well. Written as matrices, ``D = d eps / d g`` and ``E = d eps / d w``
    at fixed ``g``. One that treats layers differently overrides :meth:`for_layout`.
    """

    def for_layout(self, layout: ParameterLayout) -> Any:
        """Perturbation of the vectors of a layout, whose ``slices`` are the parameters by name.

        Called before the other methods, once for each module. The object itself must not change;
        by default it knows no names and is returned.
        """
        return self

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
        if q == 2:  # the same with half the passes over g
            scaled = _over(g, _peak(g))
            length = torch.linalg.vector_norm(scaled)
            return scaled * _over(torch.full_like(length, rho), length)
        return rho * g.sign() * _scaled(g.abs(), q) ** (q - 1)

    def jvp(self, w: Tensor, g: Tensor, rho: float, dw: Tensor, dg: Tensor) -> Tensor:
        return self._derivative(g, rho, dg)

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(w), self._derivative(g, rho, u)

    def _derivative(self, g: Tensor, rho: float, v: Tensor) -> Tensor:
        """D v, with D = ((q-1)/N) [rho diag((|g|/N)^(q-2)) - eps eps'/rho], symmetric."""
        q = self._q
        if q == 1:
            return torch.zeros_like(v)
        if q == 2:  # the same with half the passes over g
            peak = _peak(g)
            scaled = _over(g, peak)
            length = torch.linalg.vector_norm(scaled)
            off = torch.addcmul(v, scaled, -_over(scaled @ v, length * length))
            return off * _over(torch.full_like(peak, rho), peak * length)
        norm, magnitude = _dual_norm(g, q), _scaled(g.abs(), q)
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


class Masked(Perturbation):
    """Perturbation of some of the parameters: eps is 0 outside, and the norm runs over them alone.

    Parameters
    ----------
    parameters : str or list of str, default="all"
        Shell-style patterns of the names of the parameters that are moved; ``!`` before a pattern
        leaves out what it matches. A pattern also matches the class of the layer, as in
        ``BatchNorm2d.weight``: ``"!*Norm*"`` leaves out normalisation layers whatever they are
        called, and ``"*Norm*"`` moves nothing else.
    perturbation : {"l2", "linf", "adaptive"} or object, default="l2"
        What the chosen parameters are moved by.

    References
    ----------
    Mueller et al., Normalization Layers Are All That Sharpness-Aware Minimization Needs,
    arXiv:2306.04226.

    Examples
    --------
    >>> import torch
    >>> from sam_attribution import SAMClassifier
    >>> from sam_attribution.perturbation import Masked, PNorm
    >>> ball = Masked(["!*Norm*", "!*.bias"], perturbation=PNorm(p=3))
    >>> net = SAMClassifier(perturbation=ball).set_params(
    ...     perturbation__parameters="!*.bias"
    ... )
    >>> net.perturbation
    Masked(parameters='!*.bias', perturbation=PNorm(p=3))
    """

    _runs: tuple[tuple[int, bool], ...] = ()  # lengths in the flat vector, moved or not in turn
    _inner: Any = None

    def __init__(self, parameters: str | list[str] = "all", *, perturbation: Any = "l2") -> None:
        self.parameters = parameters
        self.perturbation = perturbation

    def for_layout(self, layout: ParameterLayout) -> "Masked":
        moved = set(self._moved(layout))
        runs: list[tuple[int, bool]] = []
        for name, span in layout.slices.items():
            length, kept = span.stop - span.start, name in moved
            if runs and runs[-1][1] == kept:
                length += runs.pop()[0]
            runs.append((length, kept))
        bound = copy.copy(self)
        bound._runs, bound._inner = tuple(runs), as_perturbation(self.perturbation)
        return bound

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        return self._widened(self._inner_of(w).eps(self._part(w), self._part(g), rho))

    def jvp(self, w: Tensor, g: Tensor, rho: float, dw: Tensor, dg: Tensor) -> Tensor:
        parts = (self._part(each) for each in (dw, dg))
        return self._widened(self._inner_of(w).jvp(self._part(w), self._part(g), rho, *parts))

    def vjp(self, w: Tensor, g: Tensor, rho: float, u: Tensor) -> tuple[Tensor, Tensor]:
        inner = self._inner_of(w)
        by_w, by_g = inner.vjp(self._part(w), self._part(g), rho, self._part(u))
        return self._widened(by_w), self._widened(by_g)

    def _moved(self, layout: ParameterLayout) -> list[str]:
        given = self.parameters
        patterns = [given] if isinstance(given, str) else list(given)
        if strangers := [each for each in patterns if not isinstance(each, str)]:
            raise TypeError(
                f"parameters of Masked must be patterns of names, got {strangers[0]!r}."
            )
        patterns = ["*"] if patterns == ["all"] else patterns
        moved = matching(layout.names, patterns, layout.aliases)
        left_out = len(moved) < len(layout.names)
        if not moved or not (left_out or all(pattern[:1] != "!" for pattern in patterns)):
            left = "leave out nothing" if moved else "leave nothing"
            known = ", ".join(f"{n} ({layout.aliases[n]})" for n in layout.names[:_N_SHOWN])
            if n_more := len(layout.names[_N_SHOWN:]):
                known = f"{known} and {n_more} more"
            raise ValueError(
                f"parameters={given!r} of Masked {left} of the parameters {known}. Use patterns "
                "that match some of these names."
            )
        return moved

    def _inner_of(self, w: Tensor) -> Any:
        if not self._runs or sum(length for length, _ in self._runs) != len(w):
            raise ValueError(
                "Masked does not know which of the numbers in w belong to which parameter. Pass "
                "it as perturbation of a net, or call for_layout(ParameterLayout(module)). A "
                "Masked inside another Masked is not supported: put all patterns into one."
            )
        return self._inner

    def _part(self, vector: Tensor) -> Tensor:
        """The entries that are moved."""
        # one split: the backward of a slice fills a whole vector, for every slice anew
        pieces = vector.split([length for length, _ in self._runs])
        runs = zip(pieces, self._runs, strict=True)
        return torch.cat([piece for piece, (_, kept) in runs if kept])

    def _widened(self, part: Tensor) -> Tensor:
        """The whole vector, 0 where nothing is moved."""
        pieces = iter(part.split([length for length, kept in self._runs if kept]))
        return torch.cat(
            [next(pieces) if kept else part.new_zeros(length) for length, kept in self._runs]
        )


class _Custom(Perturbation):
    """A user's object that has ``eps`` alone: its products come from ``torch.func``."""

    def __init__(self, perturbation: Any) -> None:
        self.perturbation = perturbation

    def eps(self, w: Tensor, g: Tensor, rho: float) -> Tensor:
        eps: Tensor = self.perturbation.eps(w, g, rho)
        return eps


def as_perturbation(perturbation: Any, layout: ParameterLayout | None = None) -> Any:
    """Perturbation for a name or an object with ``eps``; ``jvp`` and ``vjp`` are optional.

    With a `layout` it is bound to this, if it has ``for_layout``.
    """
    named = {"l2": PNorm(2), "linf": PNorm(math.inf), "adaptive": Adaptive()}
    if isinstance(perturbation, str) and perturbation in named:
        return named[perturbation]
    if not callable(getattr(perturbation, "eps", None)) or isinstance(perturbation, type):
        raise ValueError(
            f"perturbation must be one of {sorted(named)} or an object with eps(w, g, rho), "
            f"got {perturbation!r}."
        )
    if layout is not None and callable(getattr(perturbation, "for_layout", None)):
        perturbation = perturbation.for_layout(layout)
    complete = all(callable(getattr(perturbation, name, None)) for name in ("jvp", "vjp"))
    return perturbation if complete else _Custom(perturbation)


def is_constant(perturbation: Any) -> bool:
    """True if eps is constant but for jumps, as for p = inf: its derivatives are 0."""
    if isinstance(perturbation, Masked):
        return is_constant(as_perturbation(perturbation.perturbation))
    return bool(getattr(perturbation, "p", None) == math.inf)


def _over(vector: Tensor, number: Tensor) -> Tensor:
    """Quotient, zero where `number` is: written without branches, so that vmap can batch it."""
    return vector / torch.where(number == 0, torch.inf, number)


def _dual_norm(g: Tensor, q: float) -> Tensor:
    """||g||_q, safe for small entries; 0 at zero gradient."""
    peak = _peak(g)
    norm: Tensor = peak * torch.linalg.vector_norm(_over(g, peak), q)
    return norm


def _scaled(g: Tensor, q: float) -> Tensor:
    """Quotient g / ||g||_q, zero at zero gradient. Largest entry 1 first (float32)."""
    scaled = _over(g, _peak(g))
    return _over(scaled, torch.linalg.vector_norm(scaled, q))


def _peak(g: Tensor) -> Tensor:
    """Largest magnitude."""
    return g.abs().amax()  # torch's norm for p = inf takes longer
