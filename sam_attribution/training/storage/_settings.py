"""Settings of a run: values if they are plain data, and fingerprints of all."""

import copy
from pickle import PicklingError

import torch
from torch import nn

from sam_attribution._fingerprint import fingerprint
from sam_attribution.training.storage._packing import Packer, unpack
from sam_attribution.training.storage._store import MANIFEST

# the seed that was drawn is stored, the folder may move, and verbose changes no number
_FREE = {"random_state", "trajectory_dir", "verbose"}


def describe_settings(net):
    """Constructor arguments as JSON: ``values`` of plain ones, ``fingerprints`` of all."""
    settings = {k: v for k, v in net.get_params(deep=False).items() if k != "trajectory_dir"}
    packed = {name: _packed(value) for name, value in settings.items()}
    return {
        "values": {name: plain[0] for name, plain in packed.items() if plain},
        "fingerprints": {k: _fingerprint(v) for k, v in settings.items() if k not in _FREE},
    }


def configured(cls, folder, recorded, given):
    """Net of class `cls` with the recorded settings.

    Parameters
    ----------
    cls : type
    folder : path
    recorded : dict
        Settings as :func:`describe_settings` returned them.
    given : dict
        Settings that are objects or classes, which the user passes again.

    Raises
    ------
    ValueError
        If settings differ from the recorded ones; it names them.
    """
    values = {name: unpack(packed, {}) for name, packed in recorded["values"].items()}
    net = cls(**{**values, **given, "trajectory_dir": folder})
    now, then = describe_settings(net)["fingerprints"], recorded["fingerprints"]
    # None: nothing that could be compared
    names = [k for k in sorted({*now, *then}) if now.get(k) != then.get(k) or now[k] is None]
    if names:
        raise ValueError(
            f"{folder / MANIFEST} is of a run with other settings: {', '.join(names)} differ or "
            "cannot be compared. Pass them to resume as the classifier was made with them."
        )
    return net


def _packed(value):
    """One-tuple of JSON for `value`; empty if it is more than plain data."""
    packer = Packer()
    try:
        packed = packer.pack(value, "setting")
    except TypeError:
        return ()
    return () if packer.tensors else (packed,)


def _fingerprint(value):
    try:
        return fingerprint(_without_weights(value) if isinstance(value, nn.Module) else value)
    except (TypeError, PicklingError, AttributeError):
        return None


@torch.no_grad()
def _without_weights(module):
    """Copy with zero weights: the stored ones are used, so those of the user may differ."""
    module = copy.deepcopy(module)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.zero_()
    return module
