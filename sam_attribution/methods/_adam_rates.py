"""Effective rates of Adam and AdamW: one number per parameter, second moments as recorded."""

from itertools import pairwise

import torch


class AdamRates:
    """What a unit gradient of each step moved each parameter by at the end of training.

    Elementwise, backwards over ``w <- (1 - eta * decoupled) * w - s * m`` and
    ``m <- beta1 * m + (1 - beta1) * (gradient + decay * w)``, with the step size ``s`` of the
    recorded second moment.

    Parameters
    ----------
    path : TrainingPath
        Trained with ``torch.optim.Adam`` or ``AdamW``.

    Notes
    -----
    Every second moment is needed, so training is replayed for each reading, see
    ``training.rewind``.
    """

    def __init__(self, path):
        self._path = path

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
        decoupled = [self._is_decoupled(group) for group in groups]
        pairs = list(zip(groups, decoupled, strict=True))
        return (
            spread([group["betas"][0] for group in groups]),
            spread([0.0 if apart else group["weight_decay"] for group, apart in pairs]),
            spread([group["weight_decay"] if apart else 0.0 for group, apart in pairs]),
        )

    def _is_decoupled(self, group):
        return group.get("decoupled_weight_decay", self._path.optimizer is torch.optim.AdamW)

    def per_rate(self, after, groups):
        """By what a unit of the first moment moves each parameter at rate 1, (n_params,)."""
        parts = [
            after.params.new_zeros(shape.numel())  # no gradient ever came here
            if entries is None
            else _per_rate(entries, groups[group])
            for shape, entries, group in self._path.optimizer_state(after)
        ]
        return torch.cat(parts)


def _per_rate(entries, settings):
    beta1, beta2 = settings["betas"]
    n_updates = float(entries["step"])
    second = entries["max_exp_avg_sq" if settings["amsgrad"] else "exp_avg_sq"].flatten()
    root = (second / (1 - beta2**n_updates)).sqrt() + settings["eps"]
    return 1 / ((1 - beta1**n_updates) * root)
