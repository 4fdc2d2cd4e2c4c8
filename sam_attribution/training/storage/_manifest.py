"""Manifest of a folder: JSON with its own hash, whose entries name plain files of the folder."""

import hashlib
import json
import re

import numpy as np

from sam_attribution._version import __version__

FORMAT = 4
MANIFEST = "manifest.json"
RESTORE = "Restore the folder from a copy, or train again in another one."

_FILE = re.compile(r"[a-z]+-\d+\.safetensors")
_HASH = re.compile(r"[0-9a-f]{64}")
_LARGEST = 2**31  # of any number of steps, rows, epochs or threads


def manifest_bytes(content):
    """Bytes of a manifest with this content; numpy's numbers become plain ones."""
    content = _plain({"format": FORMAT, "sam_attribution": __version__, **content})
    return json.dumps({**content, "sha256": _hash_of_json(content)}, indent=1).encode()


def manifest_content(data, path):
    """Content of a manifest; raise a ValueError if its hash or format is wrong."""
    try:
        content = json.loads(data)
        intact = isinstance(content, dict) and content.pop("sha256", 0) == _hash_of_json(content)
    except (ValueError, RecursionError):  # no JSON, or nested without end
        intact = False
    if not intact:
        raise ValueError(
            f"{path} was truncated or edited, or belongs to another program. {RESTORE}"
        )
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')!r:.20}, this version of sam_attribution "
            f"({__version__}) reads format {FORMAT}. Use the version that wrote it "
            f"({content.get('sam_attribution', 'not noted')!s:.20})."
        )
    return content


def check_keys(content, rules, path):
    """Raise a ValueError unless `content` has all keys of `rules` with values that they accept."""
    for key, accepts in rules.items():
        if key not in content:
            raise ValueError(f"{path} lacks {key!r}, which every run has. {RESTORE}")
        if not accepts(content[key]):
            raise ValueError(
                f"{path} has {key!r}: {content[key]!r:.60}, which no run has. {RESTORE}"
            )


def is_entry(value):
    """True if `value` names a plain file, with its size and hash."""
    return (
        isinstance(value, dict)
        and _matches(_FILE, value.get("file"))
        and _matches(_HASH, value.get("sha256"))
        and is_count(value.get("bytes"), 2**63)
    )


def is_count(value, below=_LARGEST):
    """True for a whole number from 0 on that something can have."""
    return type(value) is int and 0 <= value < below


def are(accepts):
    """Rule for a list whose items are all accepted."""
    return lambda value: isinstance(value, list) and all(map(accepts, value))


def is_a(*kinds):
    """Rule for a value of one of some types; no bool for an int."""
    return lambda value: type(value) in kinds


def has_keys(*keys):
    """Rule for a dict with these keys and no others."""
    return lambda value: isinstance(value, dict) and value.keys() == set(keys)


def hash_of(data):
    """SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _matches(pattern, text):
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _hash_of_json(content):
    return hash_of(json.dumps(content, sort_keys=True).encode())


def _plain(content):
    return json.loads(json.dumps(content, default=_number))


def _number(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be in a manifest.")
