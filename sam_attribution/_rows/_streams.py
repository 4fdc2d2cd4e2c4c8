"""The global random streams that transforms draw from: Python's, numpy's and torch's."""

import random
from contextlib import contextmanager

import numpy as np
import torch

from sam_attribution._turns import exclusive

_MASK = 2**64 - 1


def seed_streams(seed):
    """Seed the three streams by an integer of 32 bits."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)


def mixed(*numbers):
    """Seed of 32 bits made of non-negative integers (by splitmix64: a SeedSequence is slow)."""
    mixture = 0
    for number in numbers:
        mixture = (mixture + number + 0x9E3779B97F4A7C15) & _MASK
        mixture = ((mixture ^ (mixture >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixture = ((mixture ^ (mixture >> 27)) * 0x94D049BB133111EB) & _MASK
        mixture ^= mixture >> 31
    return mixture >> 32


def next_numbers():
    """The next number of each stream, which moves them on; states would take much longer."""
    of_numpy = np.random.random_sample()  # noqa: NPY002
    return random.random(), of_numpy, torch.rand(1).item()


@contextmanager
def untouched_streams():
    """Context after which the streams are as before; other threads that draw wait for its end."""
    with exclusive(pinned=True):
        python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        of_torch = torch.default_generator.get_state()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            torch.default_generator.set_state(of_torch)
