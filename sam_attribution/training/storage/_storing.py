"""Training that can be killed at any moment and resumed."""

from os import PathLike

from sam_attribution.training._processes import check_alone, is_main
from sam_attribution.training._recording import RecordingMixin
from sam_attribution.training._trajectory import DataFingerprint
from sam_attribution.training.storage._run_on_disk import RunOnDisk


class StoringMixin(RecordingMixin):
    """Mixin that keeps the recorded run in the folder `trajectory_dir`, if there is one.

    Notes
    -----
    A checkpoint is written before the first step, at the end of every epoch, after all callbacks,
    and at the end of training. A resumed run continues from the last checkpoint.
    """

    trajectory_dir = None
    _on_disk = None
    _folder_of_run = None  # trajectory_dir when training began
    _resumed = None

    @classmethod
    def resume(cls, path, X, y=None, sample_weight=None, **settings):
        """Continue a run that was killed; the result is the same bit for bit.

        Parameters
        ----------
        path : path
            The folder that was passed as `trajectory_dir`.
        X, y, sample_weight
            The same data as were given to ``fit``.
        **settings : dict
            Arguments of the constructor that are not plain data, such as ``module=Net``,
            ``optimizer=torch.optim.AdamW`` or `callbacks`. The folder holds data only, so classes
            and objects must be passed again; their fingerprints are compared with those of the
            run. Numbers, strings and the like are stored. A module passed as an instance may have
            other weights. Callbacks may be mended or have other arguments, with a warning;
            ``(name, None)`` among them goes on without the one of that name.

        Returns
        -------
        net : instance of this class
            Fitted. A run that had finished (by early stopping, too, but not by an error or Ctrl-C)
            is read and not trained further; ``partial_fit`` trains it further.

        Raises
        ------
        ValueError
            If a file is missing, truncated, edited or of another run, if settings or data differ,
            if a run that had not finished is of other versions or another number of threads, or if
            the run depended on something that is not stored (the error names it): a callback that
            holds more than data, a custom sampler, arguments passed to ``fit`` for the module.
        OSError
            If the folder cannot be written to, for want of space for example.

        Warns
        -----
        AttributionWarning
            If the run had ended with an error, or callbacks differ from those of the run. Training
            goes on from the last checkpoint. If a run that had finished is of other versions or
            threads: replay may not be bit for bit.

        Notes
        -----
        The result is the same bit for bit on the CPU with the same number of threads. Callbacks
        get ``on_train_begin`` before their state is restored. Random transforms of a Dataset are
        those of the row, the epoch and the seed of the run.
        """
        if not isinstance(path, str | PathLike):
            raise TypeError(f"path must be that of a folder, got {path!r}.")
        run = RunOnDisk.open(path)
        net = run.configured(cls, settings)
        check_alone(net)
        net._resumed = run
        return net._train(X, y, sample_weight, afresh=True, classes=run.checkpoint["classes"])

    def initialize(self):
        """Build everything; states are written to the folder, if there is one."""
        run = self._resumed
        if run is None and self.trajectory_dir is not None and is_main(self):
            run = RunOnDisk(self.trajectory_dir)
        super().initialize()
        if run:
            self.trajectory_.states = run.states
        self._on_disk, self._folder_of_run = run, self.trajectory_dir
        return self

    def _new_seed(self):
        return self._resumed.manifest["seed"] if self._resumed else super()._new_seed()

    def _train_until_stopped(self, X, codes, **fit_params):
        """Train; note in the folder which error ended training, if one did."""
        self._check_folder()
        try:
            super()._train_until_stopped(X, codes, **fit_params)
        except Exception as error:
            if self._on_disk and not self._resumed:  # resume was refused
                self._on_disk.note_error(error)
            raise

    def _check_folder(self):
        """Raise a ValueError if going on would overwrite what ``resume`` could continue."""
        run, now = self._on_disk, self.trajectory_dir
        if run and now is None:  # go on in memory
            self.trajectory_.states = list(self.trajectory_.states)
            self._on_disk = self._folder_of_run = None
        elif now != self._folder_of_run:
            raise ValueError(
                f"trajectory_dir={str(now)!r} is not the folder of the run, "
                f"{self._folder_of_run!s}: the beginning of the run would be missing there. Call "
                "fit to train anew, or set trajectory_dir=None to continue without a folder."
            )
        elif run and not self._resumed and run.interrupted:
            raise ValueError(
                f"trajectory_dir={str(now)!r} holds this run, which stopped after "
                f"{run.progress}; training from the present weights would overwrite it. Continue "
                f"it by {type(self).__name__}.resume(trajectory_dir, X, y), or set "
                "trajectory_dir=None to continue without a folder."
            )

    def _begin(self, X, y, epochs):
        if self._resumed:
            return self._go_on(X, y)
        epochs = super()._begin(X, y, epochs)
        if self._on_disk:
            self._on_disk.begin(self, epochs)
        return epochs

    def _go_on(self, X, y):
        """Restore the run; return the number of epochs that are left."""
        run = self._resumed
        recorded = DataFingerprint(**run.manifest["data"])
        given = DataFingerprint.of(X, y, self._sample_weight)
        recorded.check_same(given, f"{run.path} was recorded on")
        run.restore(self)
        self._resumed = None
        epochs = super()._begin(X, y, run.epochs_left(self))
        self._planned_epochs = run.manifest["planned_epochs"]
        return epochs

    def notify(self, method_name, **kwargs):
        """Call the callbacks, and write a checkpoint after them."""
        run, ended = self._on_disk, method_name == "on_train_end"
        if run and run.finished and ended:
            return  # a run that had ended was read: what callbacks did then is in its checkpoint
        super().notify(method_name, **kwargs)
        if run and not run.finished and (ended or method_name == "on_epoch_end"):
            run.commit(self, finished=ended)
