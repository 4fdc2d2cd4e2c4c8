"""The global random streams that transforms draw from: Python's, numpy's and torch's."""

import random
from contextlib import contextmanager

import numpy as np
import torch

from sam_attribution._turns import exclusive


def seed_streams(*numbers):
    """Seed the three streams by non-negative integers."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)


def states_of_streams():
    """States of the three streams, to compare and to put back."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), numpy_state, torch.default_generator.get_state()


def are_at(states):
    """True if nothing was drawn since the streams had these states."""
    python, of_numpy, of_torch = states_of_streams()
    key, before = of_numpy["state"], states[1]["state"]
    return (
        key["pos"] == before["pos"]
        and of_numpy["has_gauss"] == states[1]["has_gauss"]
        and python == states[0]
        and np.array_equal(key["key"], before["key"])
        and torch.equal(of_torch, states[2])
    )


@contextmanager
def untouched_streams():
    """Context after which the streams are as before; other threads that draw wait for its end."""
    with exclusive(pinned=True):
        python, of_numpy, of_torch = states_of_streams()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            torch.default_generator.set_state(of_torch)
