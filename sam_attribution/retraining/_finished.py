"""Models that were retrained already, in memory or in a folder that survives an interruption."""

from pathlib import Path

import numpy as np
import torch

from sam_attribution._fingerprint import fingerprint
from sam_attribution.retraining._train_many import models_of
from sam_attribution.training import copy_of_module
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


def finished_models(problem, resume_dir):
    """Finished models of a problem's training; each training has its own folder in `resume_dir`."""
    if resume_dir is None:
        return FinishedModels([])
    if Path(resume_dir).is_file():
        raise ValueError(f"resume_dir must be a folder, {str(resume_dir)!r} is a file.")
    files = StackFiles(Path(resume_dir) / training_fingerprint(problem))
    return FinishedModels(files, files.keys())


def training_fingerprint(problem):
    """Hash of everything that a problem's training depends on, the same after fitting again."""
    path = problem.path
    settings = (problem.row_loss, problem.perturbation, path.optimizer, path.group_settings)
    steps = [(s.indices, s.rates, s.rho, s.gradient_factor, s.settings) for s in path.schedule]
    data = (problem.X, problem.y, problem.weights, problem.denominators)
    # appended only where it is set: without it the hash is that of older versions
    parts = [step.m_sharpness for step in path.schedule]
    more = [parts] if any(parts) else []
    return fingerprint(_module_at_start(problem), settings, path.seed, steps, data, *more)


def key_of(positions):
    """Name of the model that leaves out the rows at `positions`."""
    return fingerprint(np.asarray(positions, dtype=np.int64))


def _module_at_start(problem):
    # its trained weights are what follows, and on a GPU not to the bit
    module, start = copy_of_module(problem.module), problem.path.nearest(0)
    with torch.no_grad():
        values = problem.layout.unflatten(start.params).values()
        for parameter, value in zip(problem.layout.parameters_of(module), values, strict=True):
            parameter.copy_(value)
    module.load_state_dict(start.buffers, strict=False)
    return module
