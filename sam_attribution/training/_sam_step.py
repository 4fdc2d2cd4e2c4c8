"""The Sharpness-Aware Minimization step for skorch nets."""

import math
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike

import torch
from skorch import NeuralNet
from skorch.dataset import unpack_data

from sam_attribution._validation import HasMethods, Interval, StrOptions
from sam_attribution.training._accelerated import loss_scale, scaler_of
from sam_attribution.training._batch_parts import (
    n_rows_of,
    part_of,
    part_seed,
    part_slices,
    weights_of_part,
)
from sam_attribution.training._divergence import Diverged
from sam_attribution.training._from_module import AdoptingMixin
from sam_attribution.training._output_form import joined
from sam_attribution.training._random import derived_seed, seed_torch
from sam_attribution.training._rho import radius_at
from sam_attribution.training._unit_size import remedy_for_divergence
from sam_attribution.training.storage import StoringMixin

# __class__ is there for super()
_NO_ARGUMENTS = {"self", "__class__", "kwargs"}
# arguments that may be an object with parameters, and an example of one
_OBJECTS = {"perturbation": "PNorm(p=3)", "rho": "RhoSchedule(n_epochs=5)"}


class SAMMixin(AdoptingMixin, StoringMixin):
    """Mixin that trains a net by SAM: a step takes the gradient at ``w + eps(w, g)``.

    It goes before any other mixin that changes the step, and before the net:
    ``class Net(SAMMixin, AccelerateMixin, ConformantNet)``. Another order raises a
    TypeError. For regression the net is ``ConformantRegressor``.

    Parameters
    ----------
    rho, perturbation, m_sharpness, trajectory, trajectory_dir
        As in :class:`SAMClassifier`.

    Notes
    -----
    A training step does, in this order (where it is written in parentheses):

    1. The recording keeps the state before the step, if it is one of those to keep, and notes
       rates and optimizer settings (``RecordingMixin._recorded_step``).
    2. The sample weights of the batch's rows are looked up (``Conformant.train_step``).
    3. The gradients are set to zero (skorch's ``train_step``, which also does 9 and 10).
    4. The first pass, with dropout masks seeded by the number of the step, gives loss, prediction
       and gradient ``g`` at ``w`` (``_one_pass``).
    5. The perturbation ``eps(w, g)`` is computed (``_ascent``); with ``rho=0`` it is left out, and
       so are 6 to 8.
    6. The parameters are moved to ``w + eps`` (``_moved_by``).
    7. The second pass, with the same dropout masks, leaves the gradient at ``w + eps``
       (``_one_pass``).
    8. The parameters are put back to ``w``, and the buffers (batch-norm statistics) to what the
       first pass made of them (``_moved_by``).
    9. Callbacks such as gradient clipping change the gradient; the recording notes the factor
       (``RecordingMixin.notify``).
    10. The optimizer updates ``w``.
    11. The recording appends the step: rows, rates, length of the perturbation, factor of clipping
        (``RecordingMixin._recorded_step``).

    With `m_sharpness` the steps 4 to 8 are done for one part of the batch after the other, each
    with masks and a perturbation of its own; ``.grad`` is their weighted mean, and running
    statistics are moved by every first pass in turn.

    Replay calls the same code with the recorded rates and settings (``Replay._repeat_step``), and
    ``dynamics.training_step`` is the step as a pure function. Loss and prediction returned are
    those at ``w``.

    Under a GradScaler (half precision by accelerate) a step whose gradient overflows is skipped,
    as the scaler does, and recorded as such. Anywhere else what is not finite raises.
    """

    _parameter_constraints = {
        "rho": [Interval(Real, 0, None, closed="left"), callable],
        "perturbation": [StrOptions({"l2", "linf", "adaptive"}), HasMethods("eps")],
        "m_sharpness": [Interval(Integral, 1, None, closed="left"), None],
        "trajectory": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"all", "auto"}),
            None,
        ],
        "trajectory_dir": [str, PathLike, None],
    }

    def __init__(
        self,
        *args,
        rho=0.05,
        perturbation="l2",
        m_sharpness=None,
        trajectory="auto",
        trajectory_dir=None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.rho = rho
        self.perturbation = perturbation
        self.m_sharpness = m_sharpness
        self.trajectory = trajectory
        self.trajectory_dir = trajectory_dir

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _check_order(cls)

    def set_params(self, **params):
        """Set parameters; ``perturbation__p``, ``rho__n_epochs`` and the like go to the object."""
        inner = {name: _nested(name, params) for name in _OBJECTS}
        super().set_params(**params)
        for name, values in inner.items():
            if values and not hasattr(getattr(self, name), "set_params"):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no parameter to set. "
                    f"Pass an object, such as {name}={_OBJECTS[name]}."
                )
            if values:
                getattr(self, name).set_params(**values)
        return self

    def _begin(self, X, y, epochs):
        """Begin to train; a radius or perturbation that cannot work raises before that."""
        radius_at(self.rho, self._epochs_done())
        self._flat_module().bound(self.perturbation)
        return super()._begin(X, y, epochs)

    def train_step_single(self, batch, **fit_params):
        """Add the SAM gradient of one batch to ``.grad``; return loss and prediction at ``w``."""
        # the masks of a step depend on its number alone: same in both passes and in replay
        seed = derived_seed(self.trajectory_.seed, self.trajectory_.n_steps)
        self._radius = radius_at(self.rho, self._epochs_done())
        flat = self._flat_module()
        gathered = flat.take_gradients()
        slices = part_slices(n_rows_of(batch), self.m_sharpness) if self.m_sharpness else [None]
        if len(slices) == 1:
            step = self._climbed(seed, batch, flat, **fit_params)
        else:
            step = self._climbed_apart(seed, batch, slices, flat, **fit_params)
        self._finite("gradient", flat.largest_gradient(), batch)
        flat.add_gradients(gathered)
        return step

    def _climbed(self, seed, batch, flat, **fit_params):
        """Leave the SAM gradient of rows that climb together in ``.grad``."""
        step = self._one_pass(seed, batch, **fit_params)
        if not self.trajectory_.n_steps:
            flat.check_gradients()
        eps = self._ascent(flat, batch) if self._radius else None
        if eps is not None:
            flat.take_gradients()
            with _moved_by(eps, flat):
                self._one_pass(seed, batch, **fit_params)
        return step

    def _climbed_apart(self, seed, batch, slices, flat, **fit_params):
        """Leave the weighted mean of the SAM gradients of the parts of a batch in ``.grad``."""
        weights = self._weights_of_parts(batch, slices)
        gathered, steps, norm = flat.take_gradients(), [], 0.0
        for number, (rows, weight) in enumerate(zip(slices, weights, strict=True)):
            with weights_of_part(self, rows):
                part = part_of(batch, rows)
                steps.append(self._climbed(part_seed(seed, number), part, flat, **fit_params))
            flat.scale_gradients(weight)
            flat.add_gradients(gathered)
            gathered = flat.take_gradients()
            norm += weight * self._perturbation_norm
        flat.add_gradients(gathered)
        self._perturbation_norm = norm
        losses = (weight * step["loss"] for weight, step in zip(weights, steps, strict=True))
        outputs = joined([step["y_pred"] for step in steps])
        return steps[0] | {"loss": sum(losses), "y_pred": outputs}

    def _weights_of_parts(self, batch, slices):
        """Weights of the parts of a batch in its mean loss; they sum to 1."""
        targets = unpack_data(batch)[1]
        of_rows = self.denominators(targets, n_rows_of(batch))
        sums = torch.stack([of_rows[rows].sum() for rows in slices]).double()
        return (sums / (sums.sum() if sums.any() else 1.0)).tolist()

    def _one_pass(self, seed, batch, **fit_params):
        seed_torch(seed, self.module_device)
        step = super().train_step_single(batch, **fit_params)
        self._finite("loss", step["loss"], batch)
        return step

    def _ascent(self, flat, batch):
        """Perturbation from ``.grad``; None on an overflow, when the scaler skips the step."""
        # a power of two, so nothing is rounded
        gradient = flat.gradient() / loss_scale(self)
        eps = flat.bound(self.perturbation).eps(flat.vector(), gradient, self._radius)
        norm = self._finite("norm of the perturbation", eps.norm(), batch)
        if not math.isfinite(norm):
            return None
        self._perturbation_norm = norm
        return eps

    def _finite(self, what, value, batch):
        value = value.item()
        if not math.isfinite(value) and scaler_of(self) is None:
            raise Diverged(
                f"The {what} is {value} at step {self.trajectory_.n_steps}; the weights are "
                f"those before this step. {self._remedy(batch)}"
            )
        return value

    def _remedy(self, batch):
        rows = getattr(batch, "indices", None)
        return remedy_for_divergence(*unpack_data(batch), self._radius, rows)


def _nested(name, params):
    """Parameters of the object `name`, by their own names; they are taken out of `params`."""
    prefix = f"{name}__"
    keys = [key for key in params if key.startswith(prefix)]
    return {key.removeprefix(prefix): params.pop(key) for key in keys}


def arguments_in(scope):
    """Arguments of a constructor by name, from its ``locals()`` before it defines others."""
    given = {name: value for name, value in scope.items() if name not in _NO_ARGUMENTS}
    return given | scope["kwargs"]


def _check_order(cls):
    """Raise a TypeError if another mixin's step would replace SAM's, or never be called."""
    order = cls.__mro__
    first, last = order.index(SAMMixin), order.index(NeuralNet) if NeuralNet in order else None
    for place, other in enumerate(order):
        steps = "train_step_single" in vars(other) and not issubclass(other, SAMMixin)
        if steps and (place < first or (last is not None and place > last)):
            raise TypeError(
                f"{cls.__name__} would train without SAM or without {other.__name__}: both "
                f"change the step, and the order decides. Write class {cls.__name__}(SAMMixin, "
                f"{other.__name__}, ConformantNet)."
            )


@contextmanager
def _moved_by(eps, flat):
    """Context in which parameters are moved by `eps`; parameters and buffers are restored after."""
    # put back by copy: w + eps - eps is not w
    w, buffers = flat.vector(), flat.copy_of_buffers()
    flat.write(w + eps)
    try:
        yield
    finally:
        flat.write(w)
        flat.write_buffers(buffers)
