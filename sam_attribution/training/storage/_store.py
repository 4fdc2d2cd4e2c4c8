"""Folder of files that are read only if they are unchanged."""

import contextlib
import hashlib

from safetensors import SafetensorError

from sam_attribution._folders import user_path
from sam_attribution.training.storage._manifest import (
    MANIFEST,
    RESTORE,
    hash_of,
    is_entry,
    manifest_bytes,
    manifest_content,
)
from sam_attribution.training.storage._packing import from_bytes, to_bytes
from sam_attribution.training.storage._writing import PARTIAL, naming_the_folder, write_whole

# what Python raises for data that are not what they should be
_ODD = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Store:
    """Safetensors files in a folder, and a manifest with their hashes.

    A file is written under another name, flushed to the disk and renamed. It counts once the
    manifest, which is replaced last and in the same way, has its hash. A reader therefore sees one
    manifest and the files that belong to it, whenever the writer was killed. The folder is made
    when its first file is written, and not again. Files of others in it stay untouched.

    `argument` is the name by which the user passed the folder.
    """

    def __init__(self, folder, argument="trajectory_dir"):
        self.folder = user_path(folder, argument)
        self._argument = argument
        self._own = {None}  # hashes of the manifests that this object wrote or read

    @property
    def path(self):
        """Path of the manifest."""
        return self.folder / MANIFEST

    def exists(self):
        """True if the folder has a manifest."""
        with naming_the_folder(self._argument, self.folder):
            return self.path.is_file()

    def write(self, name, value):
        """Write one file; return its entry for the manifest."""
        file = f"{name}.safetensors"
        data = to_bytes(value)
        self._write(file, data)
        return {"file": file, "bytes": len(data), "sha256": hash_of(data)}

    def read(self, entry):
        """Content of the file of a manifest entry; raise a ValueError if it changed."""
        path = self._path(entry)
        data = _read(path)
        _check_hash(path, hash_of(data), entry)
        with readable(path):
            return from_bytes(data)

    def check_sizes(self, entries):
        """Raise a ValueError for a file that is missing or has another size, without reading it."""
        for entry in entries:
            path = self._path(entry)
            if not path.is_file():
                raise ValueError(f"{path} is missing. {RESTORE}")
            if path.stat().st_size != entry["bytes"]:
                raise ValueError(
                    f"{path} has {path.stat().st_size} bytes instead of {entry['bytes']}: it was "
                    f"truncated or edited. {RESTORE}"
                )

    def check_content(self, entries):
        """Raise a ValueError for a file that is missing or changed in any bit."""
        self.check_sizes(entries)
        for entry in entries:
            path = self._path(entry)
            with path.open("rb") as stream:
                _check_hash(path, hashlib.file_digest(stream, "sha256").hexdigest(), entry)

    def write_manifest(self, content):
        """Replace the manifest; from now on the files that it names are stored."""
        self.check_owner()
        data = manifest_bytes(content)
        self._own.add(hash_of(data))  # first: Ctrl-C may come before the next line ends
        self._write(MANIFEST, data)
        self._own = {hash_of(data)}

    def read_manifest(self):
        """Content of the manifest; raise a ValueError if its hash or format is wrong."""
        if not self.exists():
            raise ValueError(
                f"{self.path} is missing: no training has begun in this folder. Pass the folder "
                "that was given as trajectory_dir, or call fit."
            )
        data = _read(self.path)
        content = manifest_content(data, self.path)
        self._own = {hash_of(data)}
        return content

    def is_own(self):
        """True if no other object has written the manifest, or the folder has none yet."""
        return (hash_of(_read(self.path)) if self.exists() else None) in self._own

    def check_owner(self):
        """Raise a ValueError if the folder is gone, or belongs to another run."""
        if self.is_own():
            return
        if not self.exists():
            raise ValueError(
                f"{self.path} is gone: {self._argument} was deleted or moved while it was in "
                "use. Restore the folder, or begin again in another one."
            )
        raise ValueError(
            f"{self.path} belongs to another run, or another process writes to it: a folder "
            f"holds one run. Pass another {self._argument}."
        )

    def files(self, pattern):
        """Names of the files that match a regular expression as a whole, sorted."""
        return sorted(each.name for each in self.folder.glob("*") if pattern.fullmatch(each.name))

    def sweep(self):
        """Delete what an interrupted writing left."""
        with contextlib.suppress(OSError):  # it takes space, and is in nobody's way
            for path in self.folder.glob(f"*{PARTIAL}"):
                path.unlink()

    def delete(self, entry):
        """Delete a file that the manifest named."""
        with naming_the_folder(self._argument, self.folder):
            self._path(entry).unlink(missing_ok=True)

    def _path(self, entry):
        """Path of an entry's file, which lies in this folder."""
        if not is_entry(entry):
            raise ValueError(
                f"{self.path} has the entry {entry!r:.80}, which does not name a plain file of "
                f"the folder. {RESTORE}"
            )
        path = self.folder / entry["file"]
        if path.is_symlink():
            raise ValueError(f"{path} is a link, not a file of the folder. {RESTORE}")
        return path

    def _write(self, file, data):
        with naming_the_folder(self._argument, self.folder):
            if None in self._own:
                self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / file, data)


@contextlib.contextmanager
def readable(path):
    """Context in which data of a file that are not what they should be raise a ValueError."""
    try:
        yield
    except (*_ODD, SafetensorError) as error:
        raise ValueError(
            f"{path} does not hold what was written ({type(error).__name__}: {error!s:.80}). "
            f"{RESTORE}"
        ) from error


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}. {RESTORE}") from error


def _check_hash(path, found, entry):
    if found != entry["sha256"]:
        raise ValueError(
            f"{path} is not the file that {MANIFEST} knows: it was truncated, edited or mixed up "
            f"with another. {RESTORE}"
        )
