"""Folder of files that are read only if they are unchanged."""

import hashlib
import json
import os
from pathlib import Path

from sam_attribution.training.storage._packing import from_bytes, to_bytes

FORMAT = 1
MANIFEST = "manifest.json"
_RESTORE = "Restore the folder from a copy, or train again in another one."


class Store:
    """Safetensors files in a folder, and a manifest with their hashes.

    A file is written under another name, flushed to the disk and renamed. It counts once the
    manifest, which is replaced last and in the same way, has its hash. A reader therefore sees one
    manifest and the files that belong to it, whenever the writer was killed. The folder is made
    when something is written.
    """

    def __init__(self, folder):
        self.folder = Path(folder).absolute()
        self._own = {None}  # hashes of the manifests that this object wrote or read

    def exists(self):
        """True if the folder has a manifest."""
        return (self.folder / MANIFEST).is_file()

    def write(self, name, value):
        """Write one file; return its entry for the manifest."""
        file = f"{name}.safetensors"
        data = to_bytes(value)
        self._write(file, data)
        return {"file": file, "bytes": len(data), "sha256": _hash(data)}

    def read(self, entry):
        """Content of the file of a manifest entry; raise a ValueError if it changed."""
        data = self._read(entry["file"])
        if _hash(data) != entry["sha256"]:
            raise ValueError(
                f"{self.folder / entry['file']} is not the file that {MANIFEST} knows: it was "
                f"truncated, edited or mixed up with another. {_RESTORE}"
            )
        return from_bytes(data)

    def check_sizes(self, entries):
        """Raise a ValueError for a file that is missing or has another size, without reading it."""
        for entry in entries:
            path = self.folder / entry["file"]
            if not path.is_file():
                raise ValueError(f"{path} is missing. {_RESTORE}")
            if path.stat().st_size != entry["bytes"]:
                raise ValueError(
                    f"{path} has {path.stat().st_size} bytes instead of {entry['bytes']}: it was "
                    f"truncated or edited. {_RESTORE}"
                )

    def write_manifest(self, content):
        """Replace the manifest; from now on the files that it names are stored."""
        self.check_owner()
        content = {"format": FORMAT, **content}
        data = json.dumps({**content, "sha256": _hash_of_json(content)}, indent=1).encode()
        self._own.add(_hash(data))
        self._write(MANIFEST, data)

    def read_manifest(self):
        """Content of the manifest; raise a ValueError if its hash or format is wrong."""
        path = self.folder / MANIFEST
        if not self.exists():
            raise ValueError(
                f"{path} is missing: no training has begun in this folder. Pass the folder that "
                "was given as trajectory_dir, or call fit."
            )
        data = self._read(MANIFEST)
        content = _parsed(data)
        if content.pop("sha256", None) != _hash_of_json(content):
            raise ValueError(f"{path} was truncated or edited. {_RESTORE}")
        if content["format"] != FORMAT:
            raise ValueError(
                f"{path} has format {content['format']}, this version of sam_attribution reads "
                f"format {FORMAT}. Use the version that wrote it."
            )
        self._own = {_hash(data)}
        return content

    def check_owner(self):
        """Raise a ValueError if the folder belongs to another run than this object writes."""
        path = self.folder / MANIFEST
        found = _hash(path.read_bytes()) if path.exists() else None
        if found in self._own:
            return
        raise ValueError(
            f"{path} is of another run: a folder holds one. Pass another folder, or go on with "
            "what is there by resume."
        )

    def sweep(self, entries):
        """Delete numbered and partly written files that `entries` do not name."""
        kept = {entry["file"] for entry in entries}
        for path in (*self.folder.glob("*-[0-9]*.safetensors"), *self.folder.glob("*.partial")):
            if path.name not in kept:
                path.unlink()

    def delete(self, entry):
        """Delete a file that the manifest no longer names."""
        (self.folder / entry["file"]).unlink(missing_ok=True)

    def _read(self, file):
        try:
            return (self.folder / file).read_bytes()
        except OSError as error:
            raise ValueError(f"{self.folder / file} cannot be read: {error}. {_RESTORE}") from error

    def _write(self, file, data):
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{file}.partial"
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, self.folder / file)
        _flush_names(self.folder)


def _flush_names(folder):
    """Flush a renaming to the disk, where a folder can be opened (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parsed(data):
    """Parsed JSON object; an empty one if `data` hold none."""
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _hash(data):
    return hashlib.sha256(data).hexdigest()


def _hash_of_json(content):
    return _hash(json.dumps(content, sort_keys=True).encode())
