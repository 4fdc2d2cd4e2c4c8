"""The number added to the diagonal before a Jacobian is inverted."""

import warnings
from dataclasses import dataclass

from sam_attribution.linalg import extreme_eigenvalues
from sam_attribution.methods._horizon import inverse_horizon

_MARGIN = 1.5
_FRACTION = 0.01


@dataclass(frozen=True)
class DampingChoice:
    """A damping, why it was taken, and what it means for the scale of the scores."""

    damping: float
    reason: str

    def scale(self, unit):
        """What the slope against retraining can be expected to be."""
        if self.damping == 0:
            return f"{unit}; slope 1 at a fixed point, up to 1 / (1 - leverage)"
        return f"{unit}, shrunk by the damping: trust sign and order, not the slope"


def choose_damping(damping, jacobian, path):
    """Resolve ``damping="auto"`` from the spectrum of the Jacobian and the length of the training.

    Zero if every eigenvalue has a real part above 1e-4 of the largest modulus. Otherwise a damping
    is a clock: gradient descent for a time tau (the sum of its rates) answers a small force along
    an eigenvalue e by ``(1 - exp(-tau e)) / e``, for which ``1 / (e + 1 / tau)`` stands. So
    ``1 / tau`` is taken, or 1.5 times the most negative real part if that is more, for the
    inverse knows nothing of instabilities. Without a recorded training .01 of the largest modulus
    takes the place of ``1 / tau``.

    Parameters
    ----------
    damping : "auto" or float
    jacobian : LinearOperator
    path : TrainingPath or None

    Returns
    -------
    DampingChoice

    Warns
    -----
    UserWarning
        If a damping was needed.
    """
    if damping != "auto":
        return DampingChoice(float(damping), "given")
    spectrum = extreme_eigenvalues(jacobian)
    where = f"leftmost {spectrum.leftmost:.2e}, largest modulus {spectrum.radius:.2e}"
    if not spectrum.needs_damping:
        return DampingChoice(0.0, f"none needed: eigenvalues in the right half plane ({where})")
    least, what = _least(path, spectrum.radius)
    chosen = max(least, -_MARGIN * spectrum.leftmost)
    warnings.warn(
        f"the SAM Jacobian is not safely invertible ({where}); damping={chosen:.3g} was added "
        "to its diagonal, which shrinks the scores. Pass damping= to choose it yourself.",
        stacklevel=2,
    )
    return DampingChoice(
        chosen, f"max({what}, {_MARGIN} x most negative real part) = {chosen:.2e}; {where}"
    )


def _least(path, radius):
    inverse = None if path is None else inverse_horizon(path)
    if inverse is None:
        return _FRACTION * radius, f"{_FRACTION} x largest modulus"
    return inverse, f"1 / horizon = {inverse:.2e}"
