"""For how long training ran, as gradient flow counts time."""

import torch

from sam_attribution.methods._adam_rates import AdamRates
from sam_attribution.methods._rates import effective_rates


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
