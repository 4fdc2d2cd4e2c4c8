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
    """A damping and the reason for it."""

    damping: float
    reason: str

    def scale(self, unit, left_out=None):
        """Expected slope of the scores against retraining, as text for ``diagnostics_``.

        `left_out` is what the matrix leaves out of the derivative of SAM's gradient, if anything.
        """
        if self.damping == 0 and left_out:
            return f"{unit}, but {left_out}: trust sign and order, not the slope"
        if self.damping == 0:
            return f"{unit}; slope 1 at a fixed point, up to 1 / (1 - leverage)"
        return f"{unit}, shrunk by the damping: trust sign and order, not the slope"


def choose_damping(damping, jacobian, path):
    """Resolve ``damping="auto"`` from the spectrum of the Jacobian and the length of the training.

    The damping is 0 if every eigenvalue has a real part above 1e-4 of the largest modulus.
    Otherwise it represents the length of the training: gradient descent for a time tau (the sum of
    its rates) moves by ``(1 - exp(-tau e)) / e`` under a constant unit force along an eigenvalue
    e, and ``1 / (e + 1 / tau)`` approximates that. So the damping is ``1 / tau``, or 1.5 times the
    most negative real part if that is more, because the inverse of an unstable direction is
    meaningless. Without a recorded training, 0.01 of the largest modulus replaces ``1 / tau``.
    Warns if a damping was needed.
    """
    if damping != "auto":
        return DampingChoice(float(damping), "given")
    spectrum = extreme_eigenvalues(jacobian)
    where = (
        f"smallest real part {spectrum.leftmost:.2e}, largest absolute value {spectrum.radius:.2e}"
    )
    if not spectrum.needs_damping:
        return DampingChoice(0.0, f"none needed: all eigenvalues are well above 0 ({where})")
    least = None if path is None else inverse_horizon(path)
    what = (
        f"1 / horizon = {least:.2e}"
        if least is not None
        else f"{_FRACTION} x largest absolute value"
    )
    least = _FRACTION * spectrum.radius if least is None else least
    chosen = max(least, -_MARGIN * spectrum.leftmost)
    warn(
        f"the SAM Jacobian has eigenvalues near 0 or below ({where}), so damping={chosen:.3g} was "
        "added to its diagonal. Trust sign and order of the scores, not their size. Pass "
        "HIF(damping=...) to choose it yourself."
    )
    return DampingChoice(
        chosen, f"max({what}, {_MARGIN} x most negative real part) = {chosen:.2e}; {where}"
    )


def inverse_horizon(path):
    """One over the sum of the rates of the training, momentum included.

    If parameters have different sums (Adam, parameter groups), this is the mean over those that
    moved. For Adam the second moments at the end are used, so that nothing is replayed. None if it
    is unknown: another optimizer, gradients changed by a callback, no step taken, or no recorded
    state of Adam.
    """
    try:
        horizon = torch.as_tensor(_horizon(path), dtype=torch.float64)
    except ValueError:
        return None
    moved = horizon[horizon > 0]
    return float((1 / moved).mean()) if moved.numel() else None


def _horizon(path):
    if not path.has_steps:
        return path.spread(path.learning_rates.sum(0))  # of checkpoints: sums already
    if path.optimizer not in (torch.optim.Adam, torch.optim.AdamW):
        return path.spread(effective_rates(path).table.sum(0))
    if not path.recorded_states:
        raise ValueError("no state of Adam was recorded.")
    rates = path.learning_rates * path.gradient_factors[:, None]
    last = path.recorded_states[-1]
    per_rate = AdamRates(path).per_rate(last, path.settings_at(path.n_steps - 1))
    return path.spread(rates.sum(0)) * per_rate
