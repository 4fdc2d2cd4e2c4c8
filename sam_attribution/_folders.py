"""Paths that a user passes, and errors that name them."""

import os
from contextlib import contextmanager
from pathlib import Path


def user_path(path, argument):
    """The path as an absolute one, ``~`` as the user's home; a ValueError for one without a name.

    `argument` is the name by which the user passed it.
    """
    try:
        text = os.fspath(path)
    except TypeError as error:
        raise TypeError(f"{argument} must be a path, got {type(path).__name__}.") from error
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a path in text, got {text!r}. Use os.fsdecode.")
    if not text.strip() or "\0" in text:
        raise ValueError(f"{argument} must be a path, got {text!r}. Pass one that names a place.")
    return Path(os.path.expanduser(text)).absolute()


@contextmanager
def naming_path(argument, path):
    """Context in which an OSError names the `argument` that is the path of a file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        message = f"{argument}={str(path)!r} cannot be opened: {reason}. Pass another path."
        raise OSError(error.errno, message) from error
