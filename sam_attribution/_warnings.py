"""Warnings that point at the line of the user."""

import contextlib
import functools
import sys
import warnings
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path

from sam_attribution.exceptions import AttributionWarning

# code between the user's line and the place that warns, as far as it is installed
_LIBRARIES = ("accelerate", "imblearn", "joblib", "sklearn", "skorch", "torch", "tqdm")
_FILES = (__file__, *(spec.origin for name in _LIBRARIES if (spec := find_spec(name))))
_BETWEEN = (
    *(f"{Path(str(file)).parent}/" for file in _FILES),
    contextlib.__file__,
    functools.__file__,
)


_RECORDS = ContextVar("records", default=())
_WITHHELD = ContextVar("withheld", default=None)


def warn(message, category=AttributionWarning):
    """Issue a warning for the first line above this package and the libraries it is called by."""
    withheld = _WITHHELD.get()
    if withheld is not None and category is AttributionWarning:
        withheld.append(message)
        return
    for record in _RECORDS.get():
        record.append((message, category))
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextlib.contextmanager
def recorded_warnings():
    """Note what :func:`warn` issues in this thread, as pairs (message, category).

    The warnings reach the user as well. It is for repeating them later, with a cached result; other
    threads do not notice it.
    """
    record = []
    token = _RECORDS.set((*_RECORDS.get(), record))
    try:
        yield record
    finally:
        _RECORDS.reset(token)


@contextlib.contextmanager
def withheld_warnings():
    """Collect the messages of this package's warnings in this thread, for one that says them all.

    Warnings of other classes reach the user.
    """
    messages = []
    token = _WITHHELD.set(messages)
    try:
        yield messages
    finally:
        _WITHHELD.reset(token)


@contextlib.contextmanager
def collected_warnings():
    """Collect the warnings of a worker as pairs (message, category), for :func:`warn` to issue.

    They reach nobody before that, those of libraries included. It is for processes in which only
    one thread computes: Python's filters are those of the whole process.
    """
    collected = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield collected
    collected.extend((str(each.message), each.category) for each in caught)
