"""Radius of SAM's ball as a function of the epoch."""

import math
from numbers import Real

from sklearn.base import BaseEstimator


class RhoSchedule(BaseEstimator):
    """Radius that goes from `start` to `end` in some epochs, and stays there.

    Parameters
    ----------
    start : float, default=0.0
    end : float, default=0.05
    n_epochs : float, default=5
        Number of epochs until `end` is reached.
    shape : {"linear", "cosine"}, default="linear"
        A straight line, or half a wave, which is flat at both ends.

    Examples
    --------
    >>> from sam_attribution.training import RhoSchedule
    >>> rho = RhoSchedule(end=0.1, n_epochs=4)  # a warm-up
    >>> rho(0), rho(1), rho(2.5), rho(10)  # epochs so far
    (0.0, 0.025, 0.0625, 0.1)
    >>> rho = RhoSchedule(0.1, end=0, n_epochs=30, shape="cosine")
    >>> rho(0), round(rho(15), 3), rho(30)
    (0.1, 0.05, 0.0)
    """

    def __init__(self, start=0.0, *, end=0.05, n_epochs=5, shape="linear"):
        self.start = start
        self.end = end
        self.n_epochs = n_epochs
        self.shape = shape

    def __call__(self, epoch):
        """Radius after so many epochs."""
        if self.shape not in _SHAPES:
            raise ValueError(f"shape must be one of {sorted(_SHAPES)}, got {self.shape!r}.")
        done = min(epoch / self.n_epochs, 1.0) if self.n_epochs > 0 else 1.0
        share = _SHAPES[self.shape](done)
        return (1 - share) * self.start + share * self.end


_SHAPES = {
    "linear": lambda done: done,
    "cosine": lambda done: (1 - math.cos(math.pi * done)) / 2,
}


def radius_at(rho, epoch):
    """Radius after so many epochs, where `rho` is a number or a function of them."""
    if not callable(rho):
        return rho
    radius = rho(epoch)
    if not isinstance(radius, Real) or not 0 <= radius < math.inf:
        raise ValueError(
            f"rho={rho!r} must give a number from 0 on for the number of epochs so far, got "
            f"{radius!r} for {epoch:g}."
        )
    return float(radius)


def last_radius(net):
    """Radius at the beginning of the last epoch that `net` is going to train."""
    return radius_at(net.rho, max(net.max_epochs - 1, 0))
