"""Manifest of a training run: what it must hold, and whether this process can go on with it."""

import platform
from dataclasses import fields

import numpy as np
import skorch
import torch

from sam_attribution._version import __version__
from sam_attribution._warnings import warn
from sam_attribution.training._trajectory import DataFingerprint
from sam_attribution.training.storage._manifest import (
    are,
    check_keys,
    has_keys,
    is_a,
    is_count,
    is_entry,
)

_SAMPLERS = {"iterator_train__sampler", "iterator_train__batch_sampler"}


def _holds(name, *keys):
    """Rule for a dict with these keys and a dict at `name`, which is one of them."""
    return lambda value: has_keys(*keys)(value) and is_a(dict)(value[name])


_is_callback = _holds("arguments", "code", "arguments")
_RULES = {
    "class": is_a(str),
    "n_threads": is_count,
    "seed": lambda value: is_count(value, 2**63),
    "until": is_count,
    "planned_epochs": is_count,
    "finished": is_a(bool),
    "broken": is_a(str, type(None)),
    "moved_by": lambda value: is_a(dict)(value) and are(is_count)(list(value.values())),
    "error": is_a(str, type(None)),
    "epochs": are(is_entry),
    "checkpoint": is_entry,
    "replaced": lambda value: value is None or is_entry(value),
    "stretches": are(lambda edges: are(is_count)(edges) and len(edges) == 3),
    "settings": _holds("fingerprints", "values", "fingerprints"),
    "callbacks": lambda value: is_a(dict)(value) and all(map(_is_callback, value.values())),
    "versions": is_a(dict),
    "written": has_keys("steps", "rows", "states"),
    "data": has_keys(*(field.name for field in fields(DataFingerprint))),
}


def check_run(manifest, path):
    """Raise a ValueError unless a manifest has everything that a run has."""
    check_keys(manifest, _RULES, path)


def progress_of(manifest):
    """Epochs that are stored and epochs that were planned, as a phrase."""
    return f"{manifest['written']['rows']} of {manifest['until']} epochs"


def versions():
    """Versions on which the numbers of a training may depend."""
    return {
        "sam_attribution": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": np.__version__,
        "skorch": skorch.__version__,
        "torch": torch.__version__,
    }


def check_circumstances(manifest, path):
    """Raise a ValueError if this process would not compute the same numbers as the run.

    A run that is finished is read and not trained further: other versions or threads are a
    warning.
    """
    if manifest["broken"]:
        raise ValueError(f"The run of {path} cannot be resumed: {manifest['broken']}.")
    if own := _SAMPLERS & set(manifest["settings"]["fingerprints"]):
        raise ValueError(
            f"The run of {path} cannot be resumed: the position of {own.pop()} is not stored. "
            "Train again without it, or with iterator_train__shuffle."
        )
    if manifest["finished"]:
        _warn_of_replay(manifest, path)
    else:
        _check_environment(manifest, path)


def _check_environment(manifest, path):
    if "accelerator" in manifest["settings"]["fingerprints"]:
        raise ValueError(
            f"The run of {path} cannot be resumed: it stopped after {progress_of(manifest)}, and "
            "the state of accelerate's GradScaler and processes is not stored. Train again."
        )
    if changed := other_versions(manifest):
        raise ValueError(
            f"{path} was written with {', '.join(changed)}. Resume with these versions: with "
            "others training would not continue bit for bit."
        )
    n_threads = manifest["n_threads"]
    if n_threads != torch.get_num_threads():
        raise ValueError(
            f"{path} was written by a process with {n_threads} threads, this one has "
            f"{torch.get_num_threads()}. Call torch.set_num_threads({n_threads}) first."
        )


def _warn_of_replay(manifest, path):
    changed, n_threads = other_versions(manifest), manifest["n_threads"]
    if n_threads != torch.get_num_threads():
        changed.append(f"{n_threads} threads")
    if changed:
        warn(
            f"{path} was written with {', '.join(changed)}. The finished run is read, but replay "
            "may not repeat it bit for bit here. Objects passed to resume are not compared with "
            "those of the run if versions differ."
        )


def other_versions(manifest):
    """Versions of a run that differ from those of this process, as a list of phrases."""
    then, now = manifest["versions"], versions()
    return [f"{k} {then.get(k)}" for k in now if then.get(k) != now[k]]
