"""How much a gradient of step t still weighs in the final parameters."""

import numpy as np
import torch

from sam_attribution.methods._adam_rates import AdamRates


class StepRates:
    """Rates that are one number per step and parameter group.

    Parameters
    ----------
    path : TrainingPath
    table : ndarray of shape (n_steps, n_groups)
    """

    def __init__(self, path, table):
        self._path = path
        self.table = table

    def over(self, stretches):
        """Sum over each stretch, float or (n_params,)."""
        return [self._path.spread(self.table[s.first : s.last].sum(0)) for s in stretches]

    def along(self):
        """Yield each state with the rate of the step that starts there."""
        for state in self._path.states():
            yield state, self._path.spread(self.table[state.step])


def plain_rates(path):
    """The learning rates, times the factor of gradient clipping."""
    return StepRates(path, path.learning_rates * path.gradient_factors[:, None])


def effective_rates(path):
    """Rate with which each step's gradient reaches the end of training, curvature left out.

    The learning rates themselves for SGD without momentum and weight decay; more with
    momentum, for a step's gradient goes on acting; one number per parameter for Adam.

    Raises
    ------
    ValueError
        For an optimizer other than torch's SGD, Adam and AdamW.
    """
    if path.optimizer is torch.optim.SGD:
        settings = zip(*map(path.settings_at, range(path.n_steps)), strict=True)
        columns = zip(path.learning_rates.T, settings, strict=True)
        rates = np.stack([_sgd_rates(*column, path.taken) for column in columns], axis=1)
        return StepRates(path, rates * path.gradient_factors[:, None])
    if path.optimizer in (torch.optim.Adam, torch.optim.AdamW):
        return AdamRates(path)
    raise ValueError(
        f'rates="effective" is known for SGD, Adam and AdamW of torch.optim, not for '
        f'{path.optimizer.__name__}. Use rates="plain".'
    )


RATES = {"plain": plain_rates, "effective": effective_rates}


def _sgd_rates(rates, settings, taken):
    """Backward recursion over one parameter group: sensitivity to parameters and momentum."""
    steps = np.flatnonzero(taken)
    with_momentum = [t for t in steps if settings[t]["momentum"] != 0]
    to_params, to_buffer = 1.0, 0.0
    effective = np.zeros_like(rates)
    for t in reversed(steps):
        momentum, nesterov = settings[t]["momentum"], settings[t]["nesterov"]
        if momentum == 0:  # torch leaves the buffer alone
            gradient = -rates[t] * to_params
        else:
            through = momentum if nesterov else 1.0
            buffer = to_buffer - through * rates[t] * to_params
            # torch's first step copies the gradient into the buffer, undampened
            kept = 1.0 if t == with_momentum[0] else 1.0 - settings[t]["dampening"]
            gradient = kept * buffer - (rates[t] * to_params if nesterov else 0.0)
            to_buffer = momentum * buffer
        effective[t] = -gradient
        to_params += settings[t]["weight_decay"] * gradient
    return effective
