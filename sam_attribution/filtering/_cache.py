"""Results of long computations, kept in this process, and in a folder if one is given."""

import pickle
from collections import OrderedDict
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from os import PathLike
from threading import Lock

from sklearn.utils.validation import check_memory

from sam_attribution._fingerprint import fingerprint
from sam_attribution._folders import user_path
from sam_attribution._rows import DatasetRows
from sam_attribution._warnings import recorded_warnings, warn


class Store:
    """The most recently used results, up to a number of bytes.

    Parameters
    ----------
    max_bytes : int, default=2**26
        The oldest entries go when all together are larger; the newest always stays.
    """

    def __init__(self, max_bytes=2**26):
        self.max_bytes = max_bytes
        self._entries = OrderedDict()
        self._lock = Lock()

    def get(self, key):
        """Return the entry behind `key`, or None."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key, entry):
        """Keep `entry` as the newest one."""
        with self._lock:
            self._entries[key] = entry
            while len(self._entries) > 1 and self.n_bytes > self.max_bytes:
                self._entries.popitem(last=False)

    @property
    def n_bytes(self):
        """Bytes held."""
        return sum(entry.nbytes for entry in self._entries.values())


class Cache:
    """Results by the content of what they are computed from.

    Parameters
    ----------
    name : str
        Name of the results in warnings, a plural.
    store : Store
        Those of this process: clones of a filter find each other's results.
    """

    def __init__(self, name, store):
        self.name, self.store = name, store

    def get(self, compute, estimator, X, *content, memory, random_state):
        """What ``compute()`` returns, computed unless it is known.

        Warnings of this package that came with a result are issued again where it was known.

        Parameters
        ----------
        compute : callable
            Returns an object with attributes ``nbytes`` and ``said``, the warnings (message,
            category) that came with it.
        estimator, X, *content
            An estimator, the rows that it is fitted on, and whatever else the result depends on.
        memory : "auto", str, path, joblib.Memory or None
            "auto" keeps results in this process; a folder or a ``joblib.Memory`` keeps them on disk
            as well; None keeps nothing.
        random_state : int, RandomState instance or None
            Only an integer makes results repeatable, so only an integer is cached.
        """
        key = None
        if memory is not None:
            key = self._key(estimator, X, content, memory, random_state)
        if key is None:
            return compute()
        known = self.store.get(key)
        with recorded_warnings() as now:
            # also what this process knows already goes to the disk, for others
            found = _from_disk(memory, key, compute if known is None else lambda: known)
        self.store.put(key, found)
        for message, category in found.said:
            if (message, category) not in now:
                warn(message, category)
        return found

    def _key(self, estimator, X, content, memory, random_state):
        """Name of the computation, or None, with a warning if a cache was asked for."""
        if not isinstance(random_state, Integral):
            if memory != "auto":
                warn(
                    f"{self.name} are not cached: random_state={random_state!r} makes every fit "
                    "different. Pass an integer."
                )
            return None
        if isinstance(X, DatasetRows):
            if memory != "auto":
                warn(
                    f"{self.name} are not cached: the content of all rows of a Dataset is not "
                    "known."
                )
            return None
        try:
            return fingerprint(_version(), estimator, X, *content)
        except (TypeError, AttributeError, RecursionError, pickle.PicklingError) as error:
            warn(
                f"{self.name} are not cached: the content of {type(estimator).__name__} or of "
                f"its data cannot be compared ({error})."
            )
            return None


def _version():
    try:
        return version("sam-attribution")
    except PackageNotFoundError:  # imported from a source tree
        return ""


def _from_disk(memory, key, compute):
    if memory == "auto":
        return compute()
    location = str(user_path(memory, "memory")) if isinstance(memory, str | PathLike) else memory
    return check_memory(location).cache(_computed, ignore=["compute"])(key, compute)


def _computed(key, compute):
    return compute()
