"""Callbacks that are passed again to resume, compared with those that the run began with."""

import inspect
from dataclasses import dataclass

from sam_attribution._fingerprint import fingerprint_or_none
from sam_attribution._warnings import warn


@dataclass(frozen=True)
class Change:
    """Differences of one callback: it is new, its code changed, or some of its arguments did."""

    added: bool = False
    code: bool = False
    arguments: tuple = ()

    def __str__(self):
        names = ", ".join(self.arguments)
        reasons = {
            "the run had none of that name": self.added,
            "its code changed": self.code,
            f"its {names} changed or cannot be compared": self.arguments,
        }
        return " and ".join(reason for reason, holds in reasons.items() if holds)


def describe_callbacks(callbacks):
    """Fingerprints of the code and constructor arguments of (name, callback) pairs, as JSON."""
    return {
        name: {
            "code": fingerprint_or_none(type(callback)),
            "arguments": {k: fingerprint_or_none(v) for k, v in _arguments(callback).items()},
        }
        for name, callback in callbacks
    }


def changes(passed, recorded):
    """Change of every callback, by its name, between two descriptions; no entry if none."""
    found = {name: _change(now, recorded.get(name)) for name, now in passed.items()}
    return {name: change for name, change in found.items() if change != Change()}


def check_passed(net, recorded, path):
    """Raise a ValueError if a callback of the run is missing and was not switched off."""
    present = {name for name, _ in net.callbacks_}
    items = net.callbacks if isinstance(net.callbacks, list) else []
    switched_off = {item[0] for item in items if isinstance(item, tuple) and item[1] is None}
    if missing := sorted(recorded.keys() - present - switched_off):
        raise ValueError(
            f"callbacks lacks {missing[0]!r}, with which the run of {path} began. Pass the same "
            f"callbacks to resume, or ({missing[0]!r}, None) among them to resume without it."
        )


def warn_of_changes(found, path):
    """Warn if callbacks are not those of the run, and say what is used of each."""
    if found:
        named = "; ".join(f"{name!r}, {change}" for name, change in found.items())
        warn(
            f"callbacks differ from those with which the run of {path} began: {named}. They run "
            "as passed now, with the attributes that the run had given them. If one acts on "
            "gradients, weights or rates, the rest of training is not what it would have been."
        )


def _change(now, then):
    if then is None:
        return Change(added=True)
    arguments, before = now["arguments"], then["arguments"]
    differ = [k for k, v in arguments.items() if v is None or k not in before or before[k] != v]
    return Change(code=now["code"] != then["code"], arguments=tuple(differ))


def _arguments(callback):
    """Attributes that the constructor was given."""
    parameters = inspect.signature(type(callback).__init__).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return {
        name: value
        for name, value in vars(callback).items()
        if name in parameters or (takes_any and not name.endswith("_"))
    }
