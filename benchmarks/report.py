"""What every benchmark writes beside its figures, and where."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "skorch")


def machine(seed, packages=()):
    """Versions, device, threads and seed."""
    about = {
        "python": platform.python_version(),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "seed": seed,
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    return about | {name: importlib.metadata.version(name) for name in (*_PACKAGES, *packages)}


def write(name, content):
    """Write ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def read(name, default=None):
    """What :func:`write` wrote, or `default` if that is not there."""
    path = RESULTS / f"{name}.json"
    return default if default is not None and not path.exists() else json.loads(path.read_text())
