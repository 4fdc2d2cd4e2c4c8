"""Randomness that is a pure function of one seed and does not change the global streams."""

import random
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from sam_attribution._turns import exclusive


def derived_seed(seed, step):
    """Seed of one training step, 32 bits wide: torch's CPU generator ignores the rest."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def seed_torch(seed, device):
    """Seed the global torch streams that a module on `device` draws from."""
    # not torch.manual_seed: without CUDA it queues one deferred call (and a stack) per step
    torch.default_generator.manual_seed(seed)
    if _is_cuda(device):
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def isolated_random_state(seed, device, *, others=True):
    """Context with seeded global streams of torch, NumPy and Python, which are put back after it.

    Other threads that want them wait until then. Without `others`, for what is known to draw from
    torch's alone, those of NumPy and Python are left as they are.
    """
    devices = [torch.device(device)] if _is_cuda(device) else []
    rest = _other_streams(seed) if others else nullcontext()
    with exclusive(pinned=True), torch.random.fork_rng(devices=devices), rest:
        seed_torch(seed, device)
        yield


@contextmanager
def _other_streams(seed):
    """Context with seeded streams of NumPy and Python, which are as before after it."""
    with other_streams_kept():
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        yield


@contextmanager
def other_streams_kept():
    """Context after which the global streams of NumPy and Python are as before it."""
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def untouched_random_state(device):
    """Context for passes that are no part of a training: every global stream is put back."""
    return isolated_random_state(0, device)


class Draws:
    """Context that notes who owns the global streams that are drawn from in it: ``owners``.

    They are "torch", "NumPy" and "Python". Use it within :func:`isolated_random_state`.
    """

    def __init__(self, device):
        self._device = device
        self.owners = []

    def __enter__(self):
        self._before = _states(self._device)
        return self

    def __exit__(self, *error):
        after = _states(self._device)
        self.owners = [name for name, state in self._before.items() if state != after[name]]


def _states(device):
    """State of each global stream, by its owner, in a form that compares."""
    of_torch = [torch.get_rng_state()]
    if _is_cuda(device):
        of_torch.append(torch.cuda.get_rng_state(device))
    _, keys, *of_numpy = np.random.get_state()  # noqa: NPY002
    return {
        "torch": [state.tolist() for state in of_torch],
        "NumPy": (keys.tolist(), of_numpy),
        "Python": random.getstate(),
    }


def _is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"
