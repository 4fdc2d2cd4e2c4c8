"""The minimum of a smooth function of few numbers between bounds, by Newton's method."""

import numpy as np
from scipy.linalg.lapack import dposv

_NEGLIGIBLE = 0.01  # a step of a smaller expected gain is the last one
_MOST_STEPS = 25
_LONGEST_STEP = 2.0  # of any number
_PARTS_OF_STEP = 0.25 ** np.arange(6)


def newton_minimum(function, start, low, high):
    """Minimise from a start; the function is not evaluated after the last step, a small one.

    Parameters
    ----------
    function : callable
        From numbers (n,) to the value, gradient (n,) and Hessian (n, n) there.
    start, low, high : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
        Where the minimum is.
    float
        The value there.
    """
    at = np.clip(start, low, high)
    found = function(at)
    for _ in range(_MOST_STEPS):
        value, gradient, hessian = found
        step = _step(gradient, hessian, (at <= low, at >= high))
        gain = -gradient @ step / 2
        if gain < _NEGLIGIBLE:
            return np.clip(at + step, low, high), value - gain
        places = (np.clip(at + part * step, low, high) for part in _PARTS_OF_STEP)
        lower = _first_lower(function, value, places)
        if lower is None:
            break
        at, found = lower
    return at, found[0]


def _first_lower(function, value, places):
    """The first place with a value below another, and what the function is there, or None."""
    for place in places:
        found = function(place)
        if found[0] < value:
            return place, found
    return None


def _step(gradient, hessian, at_bounds):
    """Newton's step in the numbers that are not held by a lower or an upper bound."""
    lowest, highest = at_bounds
    free = ~(lowest & (gradient > 0) | highest & (gradient < 0))
    step = np.zeros_like(gradient)
    step[free] = -_solved(hessian[np.ix_(free, free)], gradient[free])
    return step * min(1, _LONGEST_STEP / max(abs(step).max(), _LONGEST_STEP))


def _solved(hessian, gradient):
    """Solution of a system; with absolute curvatures of at least 1 if not all are positive."""
    _, found, is_saddle = dposv(hessian, gradient)
    if not is_saddle:
        return found
    curvatures, directions = np.linalg.eigh(hessian)
    return directions @ (directions.T @ gradient / np.maximum(abs(curvatures), 1))
