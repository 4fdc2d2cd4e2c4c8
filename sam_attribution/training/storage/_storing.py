"""Training that can be killed at any moment and taken up again."""

from os import PathLike

from sam_attribution.training._recording import RecordingMixin
from sam_attribution.training._trajectory import DataFingerprint
from sam_attribution.training.storage._run_on_disk import RunOnDisk
from sam_attribution.training.storage._settings import describe_settings


class StoringMixin(RecordingMixin):
    """Keeps the recorded run in the folder `trajectory_dir`, if there is one.

    Notes
    -----
    Everything needed to go on is written before the first step, at the end of every epoch,
    after all callbacks, and at the end of training. What is killed between two of these
    moments is done again from the earlier one.
    """

    trajectory_dir = None
    _on_disk = None
    _taken_up = None

    @classmethod
    def resume(cls, path, X, y=None, sample_weight=None, **settings):
        """Go on with a run that was killed, bit for bit as if nothing had happened.

        Parameters
        ----------
        path : path
            What was given as `trajectory_dir`.
        X, y, sample_weight
            Exactly what was given to ``fit``.
        **settings : dict
            Arguments of the constructor that are no plain data, such as ``module=Net``,
            ``optimizer=torch.optim.AdamW`` or `callbacks`: the folder holds data only, so
            classes and objects must be passed again and are compared with those of the run by
            fingerprint. Numbers, strings and the like are stored. A module passed as an
            instance may have other weights.

        Returns
        -------
        net : instance of this class
            Fitted. A run that had come to its end (early stopping is one, an error or Ctrl-C
            is none) is read and trained no further; ``partial_fit`` goes on.

        Raises
        ------
        ValueError
            If a file is missing, truncated, edited or of another run, if settings, data,
            versions or the number of threads are others, or if the run depended on something
            that is not stored (the error names it): a callback that holds more than data, a
            sampler of your own, arguments passed to ``fit`` for the module.

        Notes
        -----
        Bit for bit on the CPU with the same number of threads. Callbacks are sent
        ``on_train_begin`` before they are put back to where they were. Random augmentation
        goes on as it would have if it draws from numpy's or torch's global streams in the
        main process, not if it happens in the workers of a loader.
        """
        if not isinstance(path, str | PathLike):
            raise TypeError(f"path must be that of a folder, got {path!r}.")
        run = RunOnDisk.open(path)
        net = run.configured(cls, settings)
        net._taken_up = run
        return net._train(X, y, sample_weight, afresh=True, classes=run.checkpoint["classes"])

    def initialize(self):
        """Build everything; states go to the folder, if there is one."""
        run = self._run()
        super().initialize()
        if run:
            self.trajectory_.states = run.states
        self._on_disk = run
        return self

    def _run(self):
        if self._taken_up or self.trajectory_dir is None:
            return self._taken_up
        return RunOnDisk(self.trajectory_dir, describe_settings(self))

    def _new_seed(self):
        return self._taken_up.manifest["seed"] if self._taken_up else super()._new_seed()

    def _begin(self, X, y, epochs):
        if self._taken_up:
            return self._go_on(X, y)
        epochs = super()._begin(X, y, epochs)
        if self._on_disk:
            self._on_disk.begin(self, epochs)
        return epochs

    def _go_on(self, X, y):
        """Take the run up where it stood; return the number of epochs that are left."""
        run, self._taken_up = self._taken_up, None
        recorded = DataFingerprint(**run.manifest["data"])
        recorded.check_same(DataFingerprint.of(X, y, self._sample_weight), run.path)
        run.restore(self)
        epochs = super()._begin(X, y, run.epochs_left(self))
        self._planned_epochs = run.manifest["planned_epochs"]
        return epochs

    def notify(self, method_name, **kwargs):
        """Call the callbacks, and write down where training stands once they are through."""
        super().notify(method_name, **kwargs)
        run, ended = self._on_disk, method_name == "on_train_end"
        if run and not run.finished and (ended or method_name == "on_epoch_end"):
            run.commit(self, finished=ended)
