"""States of training that are kept on disk."""

from collections.abc import Sequence
from functools import lru_cache

from sam_attribution.training._trajectory import State


class StoredState:
    """A :class:`State` whose tensors are read, onto the CPU, when they are accessed.

    The state that was read last stays in memory. All states on disk are whole.
    """

    is_whole = True

    def __init__(self, step, store, entry):
        self.step = step
        self._store = store
        self._entry = entry

    @property
    def params(self):
        """Trainable parameters, shape (n_params,)."""
        return self._read().params

    @property
    def buffers(self):
        """Buffers by name."""
        return self._read().buffers

    @property
    def optimizer(self):
        """State of the optimizer."""
        return self._read().optimizer

    def _read(self):
        return _read_state(self._store, tuple(self._entry.items()))


class StoredStates(Sequence):
    """Sequence of states that are files of a folder; `entries` are steps and manifest entries."""

    def __init__(self, store):
        self._store = store
        self.entries = []

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        step, entry = self.entries[i]
        return StoredState(step, self._store, entry)

    def append(self, state):
        """Write a state; the manifest names it after the next commit."""
        self._store.check_owner()
        entry = self._store.write(f"state-{state.step:08d}", vars(state))
        self.entries.append((state.step, entry))


@lru_cache(maxsize=1)
def _read_state(store, entry):
    return State(**store.read(dict(entry)))
