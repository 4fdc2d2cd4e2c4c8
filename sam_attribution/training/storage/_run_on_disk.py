"""Training run in a folder: written epoch by epoch, and resumed."""

import contextlib
import re
from dataclasses import asdict

import torch
from skorch.history import History

from sam_attribution._warnings import warn
from sam_attribution.training._trajectory import Stretch
from sam_attribution.training.storage._callback_state import (
    callback_states,
    not_restorable,
    warn_of_callback,
)
from sam_attribution.training.storage._checkpoint import put_checkpoint, take_checkpoint
from sam_attribution.training.storage._manifest import RESTORE
from sam_attribution.training.storage._passed_callbacks import (
    changes,
    check_passed,
    describe_callbacks,
    warn_of_changes,
)
from sam_attribution.training.storage._run_manifest import (
    check_circumstances,
    check_run,
    other_versions,
    progress_of,
    versions,
)
from sam_attribution.training.storage._schedule_data import schedule_as_data, schedule_of
from sam_attribution.training.storage._settings import configured, describe_settings
from sam_attribution.training.storage._store import Store, readable
from sam_attribution.training.storage._stored_states import StoredStates

_OWN_FILE = re.compile(r"(state|epoch|checkpoint)-\d+\.safetensors")


class RunOnDisk:
    """Files of one run.

    - ``state-<step>``: one kept state;
    - ``epoch-<number>``: schedule and history of an epoch, and the names of the states kept in
      it;
    - ``checkpoint-<number>``: the checkpoint from which training continues; only the newest
      stays;
    - ``manifest.json``: settings, fingerprints, and the hashes of the files above. It comes first,
      so that a run finds its own files in the folder, and none of somebody else.
    """

    def __init__(self, folder):
        self.store = Store(folder)
        self.states = StoredStates(self.store)
        self.manifest = {
            "epochs": [],
            "checkpoint": None,
            "replaced": None,
            "finished": False,
            "error": None,
            "written": {"steps": 0, "rows": 0, "states": 0},
        }
        self.checkpoint = None  # of a run to be resumed
        self._first_states = None  # of the callbacks
        self._warned = set()

    @classmethod
    def open(cls, folder):
        """Run that a folder holds, to be resumed."""
        run = cls(folder)
        run.manifest = run.store.read_manifest()
        if run.manifest.get("checkpoint", 0) is None:
            raise ValueError(
                f"{run.path} has no checkpoint, because the run was interrupted before its first "
                "step. Call fit."
            )
        check_run(run.manifest, run.path)
        run.checkpoint = run.store.read(run.manifest["checkpoint"])
        return run

    @property
    def path(self):
        """Path of the manifest, for messages."""
        return self.store.path

    @property
    def finished(self):
        """True if training came to its end."""
        return self.manifest["finished"]

    @property
    def interrupted(self):
        """True if training began and did not come to its end."""
        return self.manifest["checkpoint"] is not None and not self.finished

    @property
    def progress(self):
        """Epochs that are stored and epochs that were planned, as a phrase."""
        return progress_of(self.manifest)

    def begin(self, net, epochs):
        """Write settings, data hashes and the number of `epochs`, before the first step."""
        self.manifest |= {
            "versions": versions(),
            "n_threads": torch.get_num_threads(),
            "class": type(net).__qualname__,
            "settings": describe_settings(net),
            "callbacks": describe_callbacks(net.callbacks_),
            "seed": net.trajectory_.seed,
            "data": asdict(net.trajectory_.fingerprint),
            "until": len(net.history) + epochs,
            "error": None,
        }
        self._first_states = self._first_states or callback_states(net.callbacks_)
        if self.manifest["checkpoint"] is None:
            self._take_folder()
            self.store.write_manifest(self.manifest)
        self.commit(net)

    def _take_folder(self):
        """Raise a ValueError if the folder holds a run, or files that this run would replace."""
        if self.store.is_own():  # there is no manifest
            found = self.store.files(_OWN_FILE)
            if found:
                raise ValueError(
                    f"trajectory_dir={str(self.store.folder)!r} holds {found[0]}, which does not "
                    "belong to a run and might be overwritten. Pass another folder, or an empty "
                    "one."
                )
            return
        other = Store(self.store.folder).read_manifest()
        if other.get("checkpoint", 0) is not None:
            check_run(other, self.path)
            state = "finished" if other["finished"] else f"stopped after {progress_of(other)}"
            raise ValueError(
                f"{self.path} belongs to another run, which {state}: a folder holds one run. "
                "Pass another trajectory_dir, or call resume for the run that is there."
            )
        self.store.read_manifest()  # of a run that took no step: its folder is taken over

    def commit(self, net, finished=False):
        """Write the new part of the run and a checkpoint, then the manifest that names them."""
        self.store.check_owner()  # before anything is replaced
        number, old = len(self.manifest["epochs"]), self.manifest["checkpoint"]
        epoch = self.store.write(f"epoch-{number:06d}", self._addition(net))
        content = take_checkpoint(net)
        self._warn_of_callbacks(content["callbacks"])
        checkpoint = self.store.write(f"checkpoint-{number:06d}", content)
        # at once: Ctrl-C may come at any moment, and another commit after it
        self.manifest = {
            **self.manifest,
            **self._progress(net),
            "finished": finished,
            "epochs": [*self.manifest["epochs"], epoch],
            "checkpoint": checkpoint,
            "replaced": old,
            "error": None,
        }
        self.store.write_manifest(self.manifest)
        if old:
            self.store.delete(old)

    def _warn_of_callbacks(self, states):
        found = not_restorable(states, self._first_states, self.manifest["callbacks"])
        for name, attribute in found:
            if name not in self._warned:
                warn_of_callback(name, attribute, self.store.folder)
            self._warned.add(name)

    def note_error(self, error):
        """Note in the manifest which error ended training, so that resume can say so."""
        self.manifest = {**self.manifest, "error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(OSError, ValueError):  # the first error is the one to tell
            if self.interrupted and self.store.exists():
                self.store.write_manifest(self.manifest)

    def _addition(self, net):
        """Schedule, history and kept states since the last commit."""
        written = self.manifest["written"]
        return {
            "schedule": schedule_as_data(net.trajectory_.schedule[written["steps"] :]),
            "history": [dict(row) for row in net.history[written["rows"] :]],
            "states": [list(pair) for pair in self.states.entries[written["states"] :]],
        }

    def _progress(self, net):
        trajectory, rows, states = net.trajectory_, len(net.history), len(self.states)
        return {
            "planned_epochs": net._planned_epochs,
            "stretches": [[s.first, s.middle, s.last] for s in trajectory.stretches],
            "broken": trajectory.broken,
            "moved_by": trajectory.moved_by,
            "written": {"steps": trajectory.n_steps, "rows": rows, "states": states},
        }

    def configured(self, cls, settings):
        """Untrained net of class `cls` with the settings of this run."""
        if (wanted := self.manifest["class"]) != cls.__qualname__:
            raise ValueError(f"{self.path} is the run of a {wanted}. Call {wanted}.resume.")
        check_circumstances(self.manifest, self.path)
        recorded, upgraded = self.manifest["settings"], bool(other_versions(self.manifest))
        return configured(cls, self.store.folder, recorded, settings, only_plain=upgraded)

    def epochs_left(self, net):
        """Number of epochs that the run had still to train."""
        return 0 if self.finished else self.manifest["until"] - len(net.history)

    def restore(self, net):
        """Give a new net, after ``on_train_begin``, history, schedule and state of this run."""
        checkpoint, self.checkpoint = self.checkpoint, None
        passed = describe_callbacks(net.callbacks_)
        changed = changes(passed, self.manifest["callbacks"])
        check_passed(net, self.manifest["callbacks"], self.path)
        self._first_states = callback_states(net.callbacks_)
        additions = [self.store.read(entry) for entry in self.manifest["epochs"]]
        with readable(self.path):
            self.states.entries = [tuple(pair) for part in additions for pair in part["states"]]
            net.history_ = History([row for part in additions for row in part["history"]])
            self._restore_schedule(net.trajectory_, additions)
        self._check_complete(net)
        self.store.check_content([entry for _, entry in self.states.entries])
        put_checkpoint(net, checkpoint, changed)
        if net.trajectory_.n_steps:
            net.trajectory_.note_names(tuple(checkpoint["trained"]))
        self._sweep()
        self._warn_of(changed)
        self.manifest = {**self.manifest, "callbacks": passed}

    def _warn_of(self, changed):
        """Warn of changed callbacks and of the error that ended training, after all checks."""
        warn_of_changes(changed, self.path)
        if error := self.manifest["error"]:
            warn(
                f"The run of {self.path} stopped with {error} (after {self.progress}). It "
                "continues from there, and stops again unless the cause is removed."
            )

    def _restore_schedule(self, trajectory, additions):
        parts = (schedule_of(part["schedule"]) for part in additions)
        trajectory.schedule = [step for part in parts for step in part]
        trajectory.stretches = [Stretch(*edges) for edges in self.manifest["stretches"]]
        trajectory.moved_by = dict(self.manifest["moved_by"])

    def _check_complete(self, net):
        trajectory = net.trajectory_
        found = {
            "steps": trajectory.n_steps,
            "rows": len(net.history),
            "states": len(self.states),
        }
        if found != self.manifest["written"]:
            raise ValueError(
                f"{self.path} lists {self.manifest['written']}, but its files hold {found}. "
                f"{RESTORE}"
            )

    def _sweep(self):
        """Delete what a killed process left: unfinished files and the checkpoint before."""
        old = self.manifest["replaced"]
        if old and old["file"] != self.manifest["checkpoint"]["file"]:
            self.store.delete(old)
        self.store.sweep()
