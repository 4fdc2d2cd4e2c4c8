"""Training run in a folder: written epoch by epoch, and resumed."""

import platform
from dataclasses import asdict

import numpy as np
import skorch
import torch
from skorch.history import History

from sam_attribution.training._trajectory import Stretch
from sam_attribution.training.storage._checkpoint import put_checkpoint, take_checkpoint
from sam_attribution.training.storage._schedule_data import schedule_as_data, schedule_of
from sam_attribution.training.storage._settings import configured, describe_settings
from sam_attribution.training.storage._store import MANIFEST, Store
from sam_attribution.training.storage._stored_states import StoredStates

_SAMPLERS = {"iterator_train__sampler", "iterator_train__batch_sampler"}


class RunOnDisk:
    """Files of one run.

    - ``state-<step>``: one kept state;
    - ``epoch-<number>``: schedule and history of an epoch, and the names of the states kept in
      it;
    - ``checkpoint-<number>``: the checkpoint from which training continues; only the newest
      stays;
    - ``manifest.json``: settings, fingerprints, and the hashes of the files above.

    A new run needs the ``describe_settings`` of a net that is not initialised yet.
    """

    def __init__(self, folder, settings=None):
        self.store = Store(folder)
        self.states = StoredStates(self.store)
        self.manifest = {
            "settings": settings,
            "epochs": [],
            "checkpoint": None,
            "finished": False,
            "written": {"steps": 0, "rows": 0, "states": 0},
        }
        self.checkpoint = None  # of a run to be resumed

    @classmethod
    def open(cls, folder):
        """Run that a folder holds, to be resumed."""
        run = cls(folder)
        run.manifest = run.store.read_manifest()
        run.checkpoint = run.store.read(run.manifest["checkpoint"])
        return run

    @property
    def path(self):
        """Path of the manifest, for messages."""
        return self.store.folder / MANIFEST

    @property
    def finished(self):
        """True if training came to its end."""
        return self.manifest["finished"]

    def begin(self, net, epochs):
        """Write settings, data hashes and the number of `epochs`, before the first step."""
        self.manifest |= {
            "versions": _versions(),
            "n_threads": torch.get_num_threads(),
            "class": type(net).__qualname__,
            "settings": self._settings_of(net),
            "seed": net.trajectory_.seed,
            "data": asdict(net.trajectory_.fingerprint),
            "until": len(net.history) + epochs,
        }
        self.store.check_owner()
        self.commit(net)

    def _settings_of(self, net):
        settings = describe_settings(net)
        # some callbacks change their own arguments once skorch has initialised them
        first = self.manifest["settings"]["fingerprints"]
        settings["fingerprints"]["callbacks"] = first["callbacks"]
        return settings

    def commit(self, net, finished=False):
        """Write the new part of the run and a checkpoint, then the manifest that names them."""
        number, old = len(self.manifest["epochs"]), self.manifest["checkpoint"]
        epoch = self.store.write(f"epoch-{number:06d}", self._addition(net))
        checkpoint = self.store.write(f"checkpoint-{number:06d}", take_checkpoint(net))
        # at once: Ctrl-C may come at any moment, and another commit after it
        self.manifest = {
            **self.manifest,
            **self._progress(net),
            "finished": finished,
            "epochs": [*self.manifest["epochs"], epoch],
            "checkpoint": checkpoint,
        }
        self.store.write_manifest(self.manifest)
        if old:
            self.store.delete(old)

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
            raise ValueError(f"{self.path} is of a {wanted}. Call {wanted}.resume.")
        self._check_circumstances()
        return configured(cls, self.store.folder, self.manifest["settings"], settings)

    def _check_circumstances(self):
        """Raise a ValueError if this process would not compute the same numbers as the run."""
        then, now = self.manifest["versions"], _versions()
        if changed := [f"{k} {then.get(k)}" for k in now if then.get(k) != now[k]]:
            raise ValueError(
                f"{self.path} was written with {', '.join(changed)}. Resume with these versions: "
                "with others training would not go on bit for bit."
            )
        if self.manifest["broken"]:
            raise ValueError(f"The run of {self.path} cannot go on: {self.manifest['broken']}.")
        if own := _SAMPLERS & set(self.manifest["settings"]["fingerprints"]):
            raise ValueError(
                f"The run of {self.path} cannot go on: where {own.pop()} stood is not stored. "
                "Train again without it, or with iterator_train__shuffle."
            )
        n_threads = self.manifest["n_threads"]
        if n_threads != torch.get_num_threads():
            raise ValueError(
                f"{self.path} was written by a process with {n_threads} threads, this one has "
                f"{torch.get_num_threads()}. Call torch.set_num_threads({n_threads}) first."
            )

    def epochs_left(self, net):
        """Number of epochs that the run had still to train."""
        return 0 if self.finished else self.manifest["until"] - len(net.history)

    def restore(self, net):
        """Give a new net, after ``on_train_begin``, history, schedule and state of this run."""
        checkpoint, self.checkpoint = self.checkpoint, None
        additions = [self.store.read(entry) for entry in self.manifest["epochs"]]
        self.states.entries = [tuple(pair) for part in additions for pair in part["states"]]
        states = [entry for _, entry in self.states.entries]
        self.store.check_sizes(states)
        put_checkpoint(net, checkpoint)
        net.history_ = History([row for part in additions for row in part["history"]])
        trajectory = net.trajectory_
        trajectory.schedule = [step for part in additions for step in schedule_of(part["schedule"])]
        trajectory.stretches = [Stretch(*edges) for edges in self.manifest["stretches"]]
        trajectory.moved_by = dict(self.manifest.get("moved_by", {}))
        if trajectory.n_steps:
            trajectory.note_names(tuple(checkpoint["trained"]))
        self.store.sweep([*self.manifest["epochs"], self.manifest["checkpoint"], *states])


def _versions():
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
        "skorch": skorch.__version__,
        "torch": torch.__version__,
    }
