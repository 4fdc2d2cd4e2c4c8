"""Files that are there as a whole or not at all, and errors that say which folder to look after."""

import contextlib
import errno
import os
from pathlib import Path

PARTIAL = ".sam_attribution.partial"

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space. What was written before stays valid.",
    errno.EACCES: "Pass a folder in which you may write.",
    errno.ENOENT: "The folder was deleted or moved while it was in use: pass one that stays.",
    errno.ENOTDIR: "Pass a folder, not a file.",
    errno.ENAMETOOLONG: "Pass a shorter path.",
}
_SAME = {
    errno.EDQUOT: errno.ENOSPC,
    errno.EPERM: errno.EACCES,
    errno.EROFS: errno.EACCES,
    errno.EEXIST: errno.ENOTDIR,
}


def write_whole(path, data):
    """Write a file under another name, flush it to the disk and rename it."""
    partial = Path(f"{path}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as stream:  # x: a link is not followed
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)  # on a full disk it takes what is left
        raise
    _flush_names(path.parent)


@contextlib.contextmanager
def naming_the_folder(argument, folder):
    """Context in which an OSError names the `argument` that holds the folder, and a remedy."""
    try:
        yield
    except OSError as error:
        code = _SAME.get(error.errno, error.errno)
        remedy = _REMEDIES.get(code, "Check the disk, or pass another folder.")
        reason = error.strerror or error
        message = f"{argument}={str(folder)!r} cannot be written to: {reason}. {remedy}"
        raise OSError(error.errno, message) from error


def _flush_names(folder):
    """Flush a renaming to the disk, where a folder can be opened (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
