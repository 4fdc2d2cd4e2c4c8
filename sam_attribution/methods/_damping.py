"""The number added to the diagonal before a Jacobian is inverted."""

import warnings
from dataclasses import dataclass

from sam_attribution.linalg import extreme_eigenvalues

_SAFE = 1e-4
_FRACTION = 0.03


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


def choose_damping(damping, jacobian):
    """Resolve ``damping="auto"`` from the spectrum of the Jacobian.

    Zero if every eigenvalue has a real part above 1e-4 of the largest modulus. Otherwise
    .03 of the largest modulus, or twice the most negative real part if that is more,
    and a warning.

    Returns
    -------
    DampingChoice
    """
    if damping != "auto":
        return DampingChoice(float(damping), "given")
    spectrum = extreme_eigenvalues(jacobian)
    where = f"leftmost {spectrum.leftmost:.2e}, largest modulus {spectrum.radius:.2e}"
    if spectrum.leftmost > _SAFE * spectrum.radius:
        return DampingChoice(0.0, f"none needed: eigenvalues in the right half plane ({where})")
    chosen = max(_FRACTION * spectrum.radius, -2 * spectrum.leftmost)
    reason = f"max({_FRACTION} x largest modulus, 2 x most negative real part); {where}"
    warnings.warn(
        f"the SAM Jacobian is not safely invertible ({where}); damping={chosen:.3g} was added "
        "to its diagonal, which shrinks the scores. Pass damping= to choose it yourself.",
        stacklevel=2,
    )
    return DampingChoice(chosen, reason)
