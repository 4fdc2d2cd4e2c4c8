"""Randomness that is a pure function of one seed and does not change the global streams."""

import random
from contextlib import contextmanager

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
def isolated_random_state(seed, device):
    """Context with seeded global streams of numpy and torch, which are put back after it.

    Other threads that want them wait until then.
    """
    devices = [torch.device(device)] if _is_cuda(device) else []
    with exclusive(pinned=True), torch.random.fork_rng(devices=devices), _numpy_state():
        seed_torch(seed, device)
        np.random.seed(seed)  # noqa: NPY002
        yield


@contextmanager
def _numpy_state():
    """Context after which numpy's global stream is as before."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


@contextmanager
def untouched_random_state(device):
    """Context for passes that are no part of a training: every global stream is put back."""
    state = random.getstate()
    with isolated_random_state(0, device):
        try:
            yield
        finally:
            random.setstate(state)


def _is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"
