"""The number added to the diagonal before a Jacobian is inverted."""

from dataclasses import dataclass

import torch

from sam_attribution._warnings import warn
from sam_attribution.linalg import extreme_eigenvalues
from sam_attribution.methods._rates import AdamRates, effective_rates

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
    AttributionWarning
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
    warn(
        f"the SAM Jacobian is not safely invertible ({where}); damping={chosen:.3g} was added "
        "to its diagonal, which shrinks the scores. Pass damping= to choose it yourself."
    )
    return DampingChoice(
        chosen, f"max({what}, {_MARGIN} x most negative real part) = {chosen:.2e}; {where}"
    )


def _least(path, radius):
    inverse = None if path is None else inverse_horizon(path)
    if inverse is None:
        return _FRACTION * radius, f"{_FRACTION} x largest modulus"
    return inverse, f"1 / horizon = {inverse:.2e}"


def inverse_horizon(path):
    """One over the sum of the rates of the training, momentum included.

    Where each parameter has a time of its own (Adam, parameter groups) the mean over those that
    moved. Adam's is taken from the second moments at the end, so that nothing is replayed.

    Returns
    -------
    float or None
        None if it is not known: another optimizer, gradients changed by a callback, no step taken,
        or no state of Adam recorded.
    """
    try:
        horizon = torch.as_tensor(_horizon(path), dtype=torch.float64)
    except ValueError:
        return None
    moved = horizon[horizon > 0]
    return float((1 / moved).mean()) if moved.numel() else None


def _horizon(path):
    if path.optimizer not in (torch.optim.Adam, torch.optim.AdamW):
        return path.spread(effective_rates(path).table.sum(0))
    if not path.recorded_states:
        raise ValueError("no state of Adam was recorded.")
    rates = path.learning_rates * path.gradient_factors[:, None]
    last = path.recorded_states[-1]
    per_rate = AdamRates(path).per_rate(last, path.settings_at(path.n_steps - 1))
    return path.spread(rates.sum(0)) * per_rate
