"""Rates of a recorded training: the weight of each step's gradient in the final parameters."""

from itertools import pairwise

import numpy as np
import torch


class StepRates:
    """Rates of a TrainingPath from a `table` of shape (n_steps, n_groups)."""

    def __init__(self, path, table):
        self._path = path
        self.table = table

    def n_repeated(self, n_checkpoints):
        """Number of training steps that are repeated to visit so many states."""
        return self._path.n_repeated(n_checkpoints)

    def over(self, stretches):
        """Sum over each stretch, float or (n_params,)."""
        return [self._path.spread(self.table[s.first : s.last].sum(0)) for s in stretches]

    def along(self):
        """Yield each state with the rate of the step that starts there."""
        for state in self._path.states():
            yield state, self._path.spread(self.table[state.step])


class AdamRates:
    """Distance that a unit gradient of each step moved each parameter by the end of training.

    The recursion is elementwise, backwards over ``w <- (1 - eta * decoupled) * w - s * m`` and
    ``m <- beta1 * m + (1 - beta1) * (gradient + decay * w)``, with the step size ``s`` of the
    recorded second moment. Every second moment is needed, so training is replayed each time, see
    ``training.rewind``.
    """

    def __init__(self, path):
        self._path = path

    def n_repeated(self, n_checkpoints):
        """Number of training steps that are repeated: those of all states that are not kept."""
        return self._path.n_repeated(None)

    def over(self, stretches):
        """Sum over each stretch, (n_params,) each."""
        totals = [0.0] * len(stretches)
        for state, rate in self.along():
            number = next(i for i, s in enumerate(stretches) if s.first <= state.step < s.last)
            totals[number] = totals[number] + rate
        return totals

    def along(self):
        """Yield each state with the rate of the step that starts there, the last step first."""
        to_params, to_moment = 1.0, 0.0
        factors, taken = self._path.gradient_factors, self._path.taken
        rates = self._path.learning_rates
        for after, before in pairwise(self._path.states_backwards()):
            if not taken[before.step]:
                yield before, 0.0
                continue
            rate = self._path.spread(rates[before.step])
            groups = self._path.settings_at(before.step)
            beta1, decay, decoupled = self._spread_settings(groups)
            moment = to_moment - rate * self.per_rate(after, groups) * to_params
            gradient = (1 - beta1) * moment
            yield before, -factors[before.step] * gradient
            to_params = (1 - rate * decoupled) * to_params + decay * gradient
            to_moment = beta1 * moment

    def _spread_settings(self, groups):
        """First beta, decay within the gradient, decoupled decay: floats or (n_params,)."""
        spread = self._path.spread
        adamw = self._path.optimizer is torch.optim.AdamW
        pairs = [(group, group.get("decoupled_weight_decay", adamw)) for group in groups]
        return (
            spread([group["betas"][0] for group in groups]),
            spread([0.0 if apart else group["weight_decay"] for group, apart in pairs]),
            spread([group["weight_decay"] if apart else 0.0 for group, apart in pairs]),
        )

    def per_rate(self, after, groups):
        """Distance that a unit first moment moves each parameter at rate 1, (n_params,)."""
        parts = [
            after.params.new_zeros(shape.numel())  # no gradient ever came here
            if entries is None
            else _per_rate(entries, groups[group])
            for shape, entries, group in self._path.optimizer_state(after)
        ]
        return torch.cat(parts)


def plain_rates(path):
    """The learning rates, times the factor of gradient clipping."""
    return StepRates(path, path.learning_rates * path.gradient_factors[:, None])


def effective_rates(path):
    """Rates with which each step's gradient enters the final parameters, without curvature.

    For SGD without momentum and weight decay these are the learning rates. Momentum makes them
    larger, because a step's gradient acts on later steps too. Adam has one for each parameter.
    ValueError for an optimizer other than torch's SGD, Adam and AdamW.
    """
    if not path.has_steps:
        path.check_replay('rates="effective" (unlike "plain")')
    check_effective(path.optimizer)
    if path.optimizer is torch.optim.SGD:
        settings = zip(*map(path.settings_at, range(path.n_steps)), strict=True)
        columns = zip(path.learning_rates.T, settings, strict=True)
        rates = np.stack([_sgd_rates(*column, path.taken) for column in columns], axis=1)
        return StepRates(path, rates * path.gradient_factors[:, None])
    return AdamRates(path)


def check_effective(kind, asked='rates="effective"', instead='rates="plain"'):
    """Raise a ValueError for a class of optimizer whose effective rates are not known."""
    if kind not in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        raise ValueError(
            f"{asked} is known for SGD, Adam and AdamW of torch.optim, not for {kind.__name__}. "
            f"Use {instead}."
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


def _per_rate(entries, settings):
    beta1, beta2 = settings["betas"]
    n_updates = float(entries["step"])
    second = entries["max_exp_avg_sq" if settings["amsgrad"] else "exp_avg_sq"].flatten()
    root = (second / (1 - beta2**n_updates)).sqrt() + settings["eps"]
    return 1 / ((1 - beta1**n_updates) * root)
