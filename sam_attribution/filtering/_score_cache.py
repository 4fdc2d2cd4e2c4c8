"""Cache of what a scorer found: in this process, and in a folder if one is given."""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from os import PathLike
from threading import Lock

import numpy as np
from sklearn.utils.validation import check_memory

from sam_attribution._fingerprint import fingerprint
from sam_attribution._folders import user_path
from sam_attribution._rows import DatasetRows
from sam_attribution._warnings import recorded_warnings, warn


@dataclass(frozen=True)
class Scored:
    """What a scorer found, and the warnings (message, category) that this package issued with it.

    Attributes
    ----------
    scores : ndarray of shape (n_samples,)
    suspicious : ndarray of bool, shape (n_samples,), or None
        None if the scorer does not say which rows are suspicious.
    said : tuple
    """

    scores: np.ndarray
    suspicious: np.ndarray | None = None
    said: tuple = ()

    @property
    def nbytes(self):
        """Bytes of the arrays."""
        return self.scores.nbytes + (0 if self.suspicious is None else self.suspicious.nbytes)


class ScoreStore:
    """The most recently used scores, up to a number of bytes.

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

    def put(self, key, scored):
        """Keep `scored` as the newest entry."""
        with self._lock:
            self._entries[key] = scored
            while len(self._entries) > 1 and self.n_bytes > self.max_bytes:
                self._entries.popitem(last=False)

    @property
    def n_bytes(self):
        """Bytes held."""
        return sum(entry.nbytes for entry in self._entries.values())


_STORE = ScoreStore()  # one per process: clones of a filter find each other's scores


def fitted_scores(scorer, X, y, fit_params, *, memory, random_state):
    """What `scorer` finds if it is fitted on the rows, computed unless the cache holds it.

    Parameters
    ----------
    scorer : estimator
        Its ``fit(X, y, **fit_params)`` leaves ``scores_``, and may leave ``suspicious_``.
    X, y : array-like of shape (n_samples, ...), (n_samples,)
        Training rows.
    fit_params : dict
        More arguments of ``fit``.
    memory : "auto", str, path, joblib.Memory or None
        "auto" keeps scores in this process; a folder or a ``joblib.Memory`` keeps them on disk as
        well; None keeps nothing.
    random_state : int, RandomState instance or None
        Only an integer makes scores repeatable, so only an integer is cached.

    Returns
    -------
    scores : ndarray of shape (n_samples,)
    suspicious : ndarray of bool, shape (n_samples,), or None
        Copies the caller owns. Warnings of this package that came with the scores are issued again
        where the cache holds them.
    """

    def compute():
        with recorded_warnings() as said:
            found = _found_by(scorer.fit(X, y, **fit_params))
        return Scored(*found, tuple(said))

    key = None if memory is None else _key(scorer, X, y, fit_params, memory, random_state)
    if key is None:
        return _copies(compute())
    known = _STORE.get(key)
    with recorded_warnings() as now:
        # also what this process knows already goes to the disk, for others
        scored = _from_disk(memory, key, compute if known is None else lambda: known)
    _STORE.put(key, scored)
    for message, category in scored.said:
        if (message, category) not in now:
            warn(message, category)
    return _copies(scored)


def _copies(scored):
    suspicious = scored.suspicious
    return scored.scores.copy(), None if suspicious is None else suspicious.copy()


def _found_by(scorer):
    if not hasattr(scorer, "scores_"):
        raise TypeError(
            f"scorer must leave scores_ when it is fitted, {type(scorer).__name__} does not. Use "
            "SAMInfluence, for example."
        )
    suspicious = getattr(scorer, "suspicious_", None)
    return np.asarray(scorer.scores_), None if suspicious is None else np.asarray(suspicious)


def _key(scorer, X, y, fit_params, memory, random_state):
    """Return the name of the computation, or None, with a warning if a cache was asked for."""
    if not isinstance(random_state, Integral):
        if memory != "auto":
            warn(
                f"Scores are not cached: random_state={random_state!r} makes every fit another "
                "one. Pass an integer."
            )
        return None
    if isinstance(X, DatasetRows):
        if memory != "auto":
            warn(
                "Scores are not cached: of a Dataset a few rows are known, not the content of all."
            )
        return None
    try:
        return fingerprint(_version(), scorer, X, y, fit_params)
    except (TypeError, AttributeError, RecursionError, pickle.PicklingError) as error:
        warn(
            f"Scores are not cached: the content of {type(scorer).__name__} or of its data "
            f"cannot be told ({error})."
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
    return check_memory(location).cache(_scored, ignore=["compute"])(key, compute)


def _scored(key, compute):
    return compute()
