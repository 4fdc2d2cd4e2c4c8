"""Paths that a user passes."""

import os
from pathlib import Path


def user_path(path, argument):
    """The path as an absolute one, ``~`` as the user's home; a ValueError for one without a name.

    `argument` is the name by which the user passed it.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be a path in text, got {text!r}. Use os.fsdecode.")
    if not text.strip() or "\0" in text:
        raise ValueError(f"{argument} must be a path, got {text!r}. Pass one that names a place.")
    return Path(os.path.expanduser(text)).absolute()
