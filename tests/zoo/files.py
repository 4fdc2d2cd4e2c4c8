"""Files that went wrong: the decisions of a review page and the folder of a run, mutated."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sam_attribution import SAMClassifier
from sam_attribution.review import apply_decisions

WORDS = ("", "NaN", "1.0", "-1", "1e999", "99999", "relabel", "keep", "0", "2", '"', "'0'", "\x00")
ODD = ',;\t"\n\r\x00\u00e9\ufeff 1'
NAMED = r"csv|row|line|decision|label|column|encod|UTF-8|id|page"
NAMED_OF_RUN = r"folder|run|file|manifest|state|record|changed|trajectory|version|checkpoint"
HUGE = (10**400, -1, 1e308, None, "x", [], {}, True, "../../etc/passwd", [[[[[[]]]]]])


def decisions(n_rows, rng):
    """Rows, labels, and a CSV about some of them."""
    X, y = rng.normal(size=(n_rows, 2)), rng.integers(0, 3, n_rows)
    lines = ["row,given,suggested,decision,label"]
    for row in sorted(rng.permutation(n_rows)[:5]):
        kind = ("keep", "relabel", "remove")[rng.integers(3)]
        label = {"keep": y[row], "relabel": (y[row] + 1) % 3, "remove": ""}[kind]
        lines.append(f"{row},{y[row]},{(y[row] + 1) % 3},{kind},{label}")
    return X, y, "\n".join(lines) + "\n"


def mutated_text(text, rng):
    """The text with one to three changes of the kinds that people and programs make."""
    for _ in range(rng.integers(1, 4)):
        change = _TEXT_CHANGES[rng.integers(len(_TEXT_CHANGES))]
        text = change(text, rng)
    return text


def _at(text, rng):
    return int(rng.integers(len(text) + 1))


def _inserted(text, rng):
    at = _at(text, rng)
    return text[:at] + ODD[rng.integers(len(ODD))] + text[at:]


def _dropped(text, rng):
    at = _at(text, rng)
    return text[:at] + text[at + 1 :]


def _line(text, rng, change):
    lines = text.split("\n")
    at = int(rng.integers(len(lines)))
    return "\n".join([*lines[:at], *change(lines[at]), *lines[at + 1 :]])


def _field(text, rng):
    def change(line):
        fields = line.split(",")
        fields[rng.integers(len(fields))] = WORDS[rng.integers(len(WORDS))]
        return [",".join(fields)]

    return _line(text, rng, change)


_TEXT_CHANGES = [
    _inserted,
    _dropped,
    _field,
    lambda text, rng: _line(text, rng, lambda line: []),
    lambda text, rng: _line(text, rng, lambda line: [line, line]),
    lambda text, rng: text[: _at(text, rng)],
    lambda text, rng: text.replace(",", ";"),
    lambda text, rng: text.replace("\n", "\r\n"),
]


def decisions_outcome(seed):
    """None if a mutated CSV is applied to the rows that it names or refused; else what happened."""
    rng = np.random.default_rng(seed)
    X, y, text = decisions(12, rng)
    text = mutated_text(text, rng)
    before = X.copy(), y.copy()
    try:
        kept, labels = apply_decisions(X, y, io.StringIO(text, newline=""))
    except (ValueError, TypeError) as error:
        return None if re.search(NAMED, str(error)) else f"{error} {text!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error} {text!r}"
    if not (np.array_equal(X, before[0]) and np.array_equal(y, before[1])):
        return f"what was given was changed {text!r}"
    return _unsaid(X, y, kept, labels, text)


def _unsaid(X, y, kept, labels, text):
    """What was changed of a row that no line of the text begins with."""
    named = {int(found) for found in re.findall(r"(?:^|[\r\n])[\ufeff\s\"']*(\d+)", text)}
    stays = [np.flatnonzero((row == X).all(1))[0] for row in kept]
    gone = set(range(len(y))) - set(stays)
    changed = {k for k, label in zip(stays, labels, strict=True) if label != y[k]}
    return f"rows {(gone | changed) - named} {text!r}" if (gone | changed) - named else None


def stored_run(folder):
    """A run in a folder: its data and the weights that it ends with."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)).astype("float32"), np.arange(12) % 2
    module = nn.Linear(3, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    net = SAMClassifier(
        module, max_epochs=2, batch_size=6, optimizer__momentum=0.9, trajectory=2,
        trajectory_dir=folder, random_state=0,
    )  # fmt: skip
    net.fit(X, y)
    return X, y, module, weights_of(net)


def weights_of(net):
    states = [state.params for state in net.trajectory_.states]
    return torch.cat([*states, *(p.detach().flatten() for p in net.module_.parameters())])


def mutate_folder(folder, rng):
    """One change of one file; returns what it was."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    kinds = ["bit", "truncated", "deleted", "empty", "swapped", "number"]
    kind = kinds[rng.integers(len(kinds))]
    if kind == "bit" and content:
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
    elif kind == "truncated":
        path.write_bytes(content[: int(rng.integers(len(content) + 1))])
    elif kind == "deleted":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "swapped":
        path.write_bytes(files[rng.integers(len(files))].read_bytes())
    elif path.suffix == ".json":
        path.write_text(json.dumps(_odd(json.loads(content), rng)))
    return f"{kind} {path.name}"


def _odd(value, rng):
    """JSON with one of its parts, at a random place, made something else or taken away."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    if not len(keys):
        return HUGE[rng.integers(len(HUGE))]
    key = keys[rng.integers(len(keys))]
    changed = value.copy()
    if isinstance(value[key], dict | list) and rng.random() < 0.7:
        changed[key] = _odd(value[key], rng)
    elif rng.random() < 0.2:
        del changed[key]
    else:
        changed[key] = HUGE[rng.integers(len(HUGE))]
    return changed


def run_outcome(seed, folder, twin):
    """None if a run in a mutated copy of its folder is the same or refused; else what happened."""
    rng = np.random.default_rng(seed)
    X, y, module, weights = folder.run
    shutil.copytree(folder.path, twin)
    what = mutate_folder(twin, rng)
    try:
        found = weights_of(SAMClassifier.resume(twin, X, y, module=module))
    except (ValueError, TypeError) as error:
        return None if re.search(NAMED_OF_RUN, str(error)) else f"{what}: {error}"
    except Exception as error:
        return f"{what}: {type(error).__name__}: {error}"
    return None if torch.equal(found, weights) else f"{what}: other weights"
