"""Models that were finished already, in memory or in a folder that survives an interruption."""

import os
from contextlib import contextmanager

import numpy as np

from sam_attribution._fingerprint import fingerprint
from sam_attribution._folders import user_path
from sam_attribution.retraining._train_many import models_of
from sam_attribution.training.storage import Store, are, check_keys, is_entry


class FinishedModels:
    """Stacks of models, each ``(keys, params, buffers)``; `known` are the keys of all models."""

    def __init__(self, stacks, known=()):
        self.known = set(known)
        self._stacks = stacks

    def put(self, keys, params, buffers):
        """Keep a stack of models, one key each."""
        self._stacks.append((list(keys), params, buffers))
        self.known.update(keys)

    def __iter__(self):
        """Yield the key of every model, with its parameters and buffers."""
        for keys, params, buffers in self._stacks:
            yield from zip(keys, models_of(params, buffers), strict=True)


class StackFiles:
    """Stacks in a folder, a file each, including those of an earlier run."""

    def __init__(self, folder):
        self._store = Store(folder, "resume_dir")
        self._entries = _stacks_in(self._store) if self._store.exists() else []
        self._store.check_sizes(self._entries)

    def keys(self):
        """Keys of all models."""
        return [key for entry in self._entries for key in entry["keys"]]

    def append(self, stack):
        """Write a stack; it is valid once the manifest lists it."""
        keys, params, buffers = stack
        content = {"params": params, "buffers": buffers}
        entry = self._store.write(f"stack-{len(self._entries)}", content)
        self._entries.append({**entry, "keys": keys})
        self._store.write_manifest({"stacks": self._entries})

    def __iter__(self):
        for entry in self._entries:
            content = self._store.read(entry)
            yield entry["keys"], content["params"], content["buffers"]


def _stacks_in(store):
    content = store.read_manifest()
    check_keys(
        content, {"stacks": are(lambda entry: is_entry(entry) and "keys" in entry)}, store.path
    )
    return content["stacks"]


def check_is_folder(resume_dir):
    """Raise a ValueError for a `resume_dir` that is a file."""
    if resume_dir is not None and os.path.isfile(user_path(resume_dir, "resume_dir")):
        raise ValueError(f"resume_dir must be a folder, {str(resume_dir)!r} is a file.")


def finished_models(resume_dir, task):
    """Finished models of a task; each has its own folder in `resume_dir`, named by its hash.

    `task` returns everything that the models depend on but the rows left out, a tuple.
    """
    if resume_dir is None:
        return FinishedModels([])
    check_is_folder(resume_dir)
    folder = user_path(resume_dir, "resume_dir")
    files = StackFiles(folder / fingerprint(*task()))
    return FinishedModels(files, files.keys())


@contextmanager
def saying_what_is_kept(finished, keys, resume_dir, advice=""):
    """Context in which Ctrl-C gets a note on how many of the models of all `keys` are kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(_what_is_kept(finished, keys, resume_dir) + advice)
        raise


def _what_is_kept(finished, keys, resume_dir):
    if resume_dir is None:
        return f"None of the {len(keys)} models is kept: pass resume_dir to keep finished ones."
    n_kept = sum(key in finished.known for key in keys)
    return (
        f"resume_dir={str(resume_dir)!r} keeps {n_kept} of {len(keys)} models, including the one "
        "of all rows. The same call trains the others."
    )


def key_of(positions):
    """Name of the model that leaves out the rows at `positions`."""
    return fingerprint(np.asarray(positions, dtype=np.int64))
