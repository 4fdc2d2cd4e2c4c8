"""The Sharpness-Aware Minimization step for skorch nets."""

import math
from contextlib import contextmanager

from sam_attribution.perturbation import as_perturbation
from sam_attribution.training._random import derived_seed, seed_torch
from sam_attribution.training.storage import StoringMixin


class SAMMixin(StoringMixin):
    """Two passes per step: gradient at w, then at ``w + eps(w, g)``.

    Goes before any other mixin that changes the step, and before the net:
    ``class Net(SAMMixin, AccelerateMixin, ConformantNet)``. Expects parameters `rho` and
    `perturbation`.

    Notes
    -----
    Loss and prediction returned are those at ``w``. Both passes draw the same dropout masks;
    buffers (batch-norm statistics) keep what the first pass made of them.
    """

    def train_step_single(self, batch, **fit_params):
        """Leave the SAM gradient of one batch in ``.grad``, added to what was there."""
        # the masks of a step depend on its number alone: same in both passes and in replay
        seed = derived_seed(self.trajectory_.seed, self.trajectory_.n_steps)
        if self.rho == 0:
            return self._one_pass(seed, batch, **fit_params)
        live = self._live_module()
        gathered = live.take_gradients()
        step = self._one_pass(seed, batch, **fit_params)
        eps = self._ascent(live)
        with _moved_by(eps, live):
            self._one_pass(seed, batch, **fit_params)
        live.add_gradients(gathered)
        return step

    def _one_pass(self, seed, batch, **fit_params):
        seed_torch(seed, self.device)
        step = super().train_step_single(batch, **fit_params)
        self._finite("loss", step["loss"])
        return step

    def _ascent(self, live):
        """Ascent step from the gradient that is in ``.grad``, which it takes away."""
        gradient = live.flat_gradient(live.take_gradients())
        eps = as_perturbation(self.perturbation).eps(live.vector(), gradient, self.rho)
        self._perturbation_norm = self._finite("norm of the perturbation", eps.norm())
        return eps

    def _finite(self, what, value):
        value = value.item()
        if not math.isfinite(value):
            raise ValueError(
                f"The {what} is {value} at step {self.trajectory_.n_steps}; the weights are "
                "those before it. Lower lr or rho, or scale the features."
            )
        return value


@contextmanager
def _moved_by(eps, live):
    """Parameters moved by `eps` for a while, then back, with buffers as they were."""
    # put back by copy: w + eps - eps is not w
    w, buffers = live.vector(), live.copy_of_buffers()
    live.write(w + eps)
    try:
        yield
    finally:
        live.write(w)
        live.write_buffers(buffers)
