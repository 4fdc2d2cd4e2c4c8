"""Recording of a net's training, step by step."""

import contextlib
import copy
from numbers import Integral

import torch

from sam_attribution._turns import exclusive
from sam_attribution.training._accelerated import (
    bare_optimizer,
    check_accelerator,
    loss_scale,
    was_skipped,
)
from sam_attribution.training._alone import ProcessesMixin
from sam_attribution.training._callbacks import (
    acting_on_gradients,
    factor_between,
    is_clipping,
    may_move_weights,
)
from sam_attribution.training._divergence import check_end
from sam_attribution.training._flat_module import (
    FlatModule,
    bytes_of_state,
    moving_tensors,
    other_parameters,
    same_tensors,
    take_state,
)
from sam_attribution.training._gradient_hooks import check_gradient_hooks
from sam_attribution.training._own_steps import passed_by
from sam_attribution.training._parameter_groups import stranger_in_groups
from sam_attribution.training._precision import check_precision
from sam_attribution.training._processes import (
    check_processes,
    share_buffers,
    shared_epoch,
)
from sam_attribution.training._replay import Replay
from sam_attribution.training._trajectory import N_OTHERWISE, DataFingerprint, Step, Trajectory
from sam_attribution.training._unchanged import check_unchanged

_BETWEEN_STEPS = {
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_batch_begin",
    "on_batch_end",
}


class RecordingMixin(ProcessesMixin):
    """Mixin that records ``trajectory_``: the schedule of the steps and some states.

    It expects a parameter `trajectory` (see :class:`Trajectory`), and that a step sets
    ``_radius`` and ``_perturbation_norm``, the length of its perturbation.
    """

    cuda_dependent_attributes_ = ["trajectory_"]  # so that it can be unpickled without CUDA
    _flat = None
    _planned_epochs = 0
    _n_batches = None  # of an epoch
    _epoch_began = 0
    _radius = 0.0
    _perturbation_norm = 0.0
    _gradient_factor = 1.0
    _changed_by = ()

    def initialize(self):
        """Build everything and start an empty trajectory."""
        check_accelerator(self)
        super().initialize()
        # files of every step would take longer than the steps
        on_disk = self.trajectory == "auto" and self.trajectory_dir is not None
        self.trajectory_ = Trajectory(N_OTHERWISE if on_disk else self.trajectory, self._seed)
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, and keep the last state, also if an error ends training."""
        check_processes(self)
        epochs = self._begin(X, y, self.max_epochs if epochs is None else epochs)
        if fit_params:
            given = ", ".join(sorted(fit_params))
            self.trajectory_.mark_broken(f"the module was given {given} by fit")
        try:
            super().fit_loop(X, y, epochs=epochs, **fit_params)
        except BaseException:
            # a folder that is full or gone: the first error is the one to tell
            with contextlib.suppress(OSError, ValueError):
                self._end()
            raise
        self._end()
        return self

    def _end(self):
        """Keep the last state."""
        self._flat = None
        self.trajectory_.end()
        if self.trajectory_.keep is not None:
            self.trajectory_.add_state(self._state())

    def _begin(self, X, y, epochs):
        """Note the training data; return the number of epochs to train for."""
        self._planned_epochs = epochs
        self.trajectory_.meet(self._flat_module().vector())
        self.trajectory_.begin(
            DataFingerprint.of(X, y, self._sample_weight), copy.deepcopy(self.perturbation)
        )
        return epochs

    def run_single_epoch(self, iterator, training, **kwargs):
        """Plan the stretches once the number of batches is known."""
        if training:
            others = other_parameters(self)
            self._flat = FlatModule(self.module_, others.values())  # a layer may have been frozen
            self.trajectory_.note_names(self._flat.layout.names)
            self.trajectory_.note_criterion(getattr(self, "criterion_", None))
            if others:
                self.trajectory_.mark_broken(f"{', '.join(others)} outside of module were trained")
            if stranger_in_groups(self):
                self.trajectory_.mark_broken(
                    "a parameter group was added to the optimizer with parameters outside of module"
                )
            self._n_batches, self._epoch_began = _length(iterator), self.trajectory_.n_steps
            if not self._epoch_began:  # callbacks may have registered some
                check_gradient_hooks(self.module_)
        if training and self._planned_epochs:
            self._plan()
        with shared_epoch(self, iterator, kwargs["prefix"]):
            super().run_single_epoch(iterator, training, **kwargs)
        if training:
            self.trajectory_.check_perturbation(self.perturbation)

    def _plan(self):
        """Plan which states to keep; without a number of batches the first and the last."""
        known = self._n_batches is not None
        n_steps = self._planned_epochs * self._n_batches if known else None
        self.trajectory_.settle(
            n_steps, *bytes_of_state(self._flat, bare_optimizer(self.optimizer_))
        )
        if known:
            self.trajectory_.plan(n_steps)
            self._planned_epochs = 0

    def train_step(self, batch, **fit_params):
        """One recorded step; an error or Ctrl-C within it makes the run unusable for replay."""
        try:
            return self._recorded_step(batch, **fit_params)
        except BaseException as error:
            by_user = isinstance(error, KeyboardInterrupt)
            cause = "Ctrl-C" if by_user else f"{type(error).__name__} ({error})"
            self.trajectory_.mark_broken(f"{cause} interrupted training in the middle of a step")
            raise

    def _recorded_step(self, batch, **fit_params):
        rates = tuple(float(group["lr"]) for group in self.optimizer_.param_groups)
        if self.trajectory_.wants_state():
            share_buffers(self)
            memory = self.trajectory_.wants_memory(rates)
            self.trajectory_.add_state(self._state(memory=memory))
        self._radius, self._perturbation_norm = 0.0, 0.0
        self._gradient_factor, self._changed_by = 1.0, ()
        settings, scale = self._settings(), loss_scale(self)
        step = super().train_step(batch, **fit_params)
        if self.trajectory_.schedule and len(rates) != len(self.trajectory_.schedule[-1].rates):
            self.trajectory_.mark_broken(
                "a parameter group was added to the optimizer during training"
            )
        if not hasattr(batch, "indices"):
            self.trajectory_.mark_broken("iterator_train does not give the row numbers of a batch")
        self.trajectory_.schedule.append(
            Step(
                indices=getattr(batch, "indices", None),
                rates=rates,
                perturbation_norm=self._perturbation_norm,
                rho=self._radius,
                skipped=was_skipped(self),
                loss_scale=scale,
                gradient_factor=self._gradient_factor,
                settings=settings,
                m_sharpness=_whole(getattr(self, "m_sharpness", None)),
                changed_by=self._changed_by,
                without_gradient=self._flat_module().without_gradient(),
            )
        )
        return step

    def _epochs_done(self):
        """Number of epochs so far, with the part of the present one that is done.

        Whole epochs only where the loader does not know its number of batches.
        """
        whole = max(len(self.history) - 1, 0)
        if not self._n_batches:
            return float(whole)
        return whole + (self.trajectory_.n_steps - self._epoch_began) / self._n_batches

    def _settings(self):
        """Settings of the coming step: the object of the step before it, if nothing changed."""
        settings, schedule = _settings_of(self.optimizer_), self.trajectory_.schedule
        unchanged = bool(schedule) and schedule[-1].settings == settings
        return schedule[-1].settings if unchanged else settings

    def notify(self, method_name, **cb_kwargs):
        """Call the callbacks; note which changed gradient or weights, and check the end."""
        took_batch = method_name == "on_batch_end" and cb_kwargs.get("training")
        if took_batch and self.trajectory_.n_steps == self._epoch_began:
            self.trajectory_.mark_broken(passed_by(self))
        acting = acting_on_gradients(self.callbacks_)
        if method_name == "on_grad_computed" and acting:
            self._notify_of_gradient(acting, **cb_kwargs)
        elif method_name in _BETWEEN_STEPS and self._may_move_weights(method_name):
            self._notify_between_steps(method_name, **cb_kwargs)
        else:
            super().notify(method_name, **cb_kwargs)
        if method_name == "on_train_end":  # callbacks may have put other weights in place
            check_end(self, **cb_kwargs)

    def _may_move_weights(self, method_name):
        callbacks = (callback for _, callback in self.callbacks_)
        taken = self.trajectory_.n_steps > 0
        return taken and any(may_move_weights(each, method_name) for each in callbacks)

    def _notify_between_steps(self, method_name, **cb_kwargs):
        getattr(self, method_name)(self, **cb_kwargs)
        for _, callback in self.callbacks_:
            watched = may_move_weights(callback, method_name)
            with self._noting_moved(callback) if watched else contextlib.nullcontext():
                getattr(callback, method_name)(self, **cb_kwargs)

    @contextlib.contextmanager
    def _noting_moved(self, callback):
        """Context after which the trajectory knows the callback, if it changed weights in it."""
        before = moving_tensors(self.module_, copy=True)
        yield
        if not same_tensors(before, moving_tensors(self.module_)):
            self.trajectory_.note_moved(type(callback).__name__)

    def _notify_of_gradient(self, acting, **cb_kwargs):
        flat = self._flat_module()
        first = flat.gradient()
        self.on_grad_computed(self, **cb_kwargs)
        before = flat.gradient()
        for _, callback in acting:  # one by one, to learn which of them changed it
            clips = is_clipping(callback)
            with contextlib.nullcontext() if clips else self._noting_moved(callback):
                callback.on_grad_computed(self, **cb_kwargs)
            after = flat.gradient()
            if not (clips or torch.equal(before, after)):
                self._changed_by += (type(callback).__name__,)
            before = after
        self._gradient_factor = factor_between(first, after)

    def _state(self, **options):
        return take_state(self, self._flat_module(), self.trajectory_.n_steps, **options)

    def _flat_module(self):
        return self._flat or FlatModule(self.module_, other_parameters(self).values())

    def replay(self, X, y=None, start=0, stop=None, sample_weight=None):
        """Yield the states of the recorded training by repeating its steps.

        Parameters
        ----------
        X, y, sample_weight
            The same data as were given to ``fit``; for a Dataset `y` may be left out as there.
        start, stop : int, optional
            First and last state to yield, by default all.

        Returns
        -------
        generator of State
            Equal to those of training bit for bit, on the CPU with the same number of threads. The
            net itself does not change. The cost is that of the training steps from the nearest
            recorded state on.

        Raises
        ------
        ValueError
            If the data are not those of training, if no state was recorded, or if `start` and
            `stop` are not steps of the run.
        """
        self.trajectory_.check_replay()
        n_steps = self.trajectory_.n_steps
        stop = n_steps if stop is None else stop
        whole = isinstance(start, Integral) and isinstance(stop, Integral)
        if not whole or not 0 <= start <= stop <= n_steps:
            raise ValueError(
                f"start and stop must satisfy 0 <= start <= stop <= {n_steps}, got {start!r} "
                f"and {stop!r}."
            )
        return self.replayer(X, y, sample_weight).states(start, stop, whole=True)

    @exclusive()
    def replayer(self, X, y=None, sample_weight=None, *, check_data=True, **options):
        """A :class:`Replay` of the recorded training.

        A ValueError for other data; ``check_data=False`` says that these were compared before.
        """
        check_precision(self)
        data = self.as_trained(X, y, sample_weight)
        if check_data:
            self.trajectory_.check_data(*data)
        check_unchanged(self)
        return Replay(self, *data, **options)


def _whole(number):
    """A plain int, as it is stored; None stays."""
    return None if number is None else int(number)


def _length(iterator):
    """Number of batches of an epoch; None if the loader does not know it."""
    try:
        return len(iterator)
    except TypeError:
        return None


def _settings_of(optimizer):
    """Momentum, betas, weight decay and the like of each parameter group, a tuple of dict."""
    # schedulers cycle momentum as well as the rate
    names = sorted(bare_optimizer(optimizer).defaults.keys() - {"lr"})
    return tuple(
        # load_state_dict adds defaults that groups do not have
        {name: copy.deepcopy(group[name]) for name in names if name in group}
        for group in optimizer.param_groups
    )
