"""Settings of a run: values if they are plain data, and fingerprints of all."""

import torch
from torch import nn

from sam_attribution._fingerprint import fingerprint_or_none
from sam_attribution.training._module_copy import copy_of_module
from sam_attribution.training.storage._manifest import MANIFEST, RESTORE
from sam_attribution.training.storage._packing import Packer, tensors_in, unpack
from sam_attribution.training.storage._store import readable

# the seed that was drawn is stored, the folder may move, and verbose changes no number
_LONGER = " To train longer, resume without max_epochs, then call partial_fit."
_FREE = ("random_state", "trajectory_dir", "verbose")


def describe_settings(net):
    """Constructor arguments as JSON: ``values`` of plain ones, ``fingerprints``.

    Callbacks have no fingerprint here: each of them is described by itself.
    """
    settings = {k: v for k, v in net.get_params(deep=False).items() if k != "trajectory_dir"}
    plain = {name: value for name, value in settings.items() if tensors_in(value) == {}}
    return {
        "values": Packer().pack(plain, "settings"),
        "fingerprints": {k: _fingerprint(v) for k, v in settings.items() if not _is_free(k)},
    }


def configured(cls, folder, recorded, given, *, only_plain=False):
    """Net of class `cls` with the recorded settings and those that the user passes again.

    With `only_plain`, plain values are compared and objects are not: their fingerprints depend on
    the versions of Python and the libraries.
    """
    values = _stored_values(recorded, folder / MANIFEST)
    net = cls(**{**values, **given, "trajectory_dir": folder})
    now, then = describe_settings(net)["fingerprints"], recorded["fingerprints"]
    # None: nothing that could be compared
    compared = values.keys() & then if only_plain else {*now, *then}
    names = [k for k in sorted(compared) if now.get(k) != then.get(k) or now[k] is None]
    if names:
        raise ValueError(
            f"{folder / MANIFEST} belongs to a run with other settings: {', '.join(names)} "
            "differ or cannot be compared. Pass them to resume as the classifier was made with "
            f"them.{_LONGER if 'max_epochs' in names else ''}"
        )
    return net


def _stored_values(recorded, path):
    """Plain settings of a run; raise a ValueError if they do not have their fingerprints."""
    then = recorded["fingerprints"]
    with readable(path):
        values = unpack(recorded["values"], {})
        odd = [k for k, v in values.items() if not _is_free(k) and then[k] != _fingerprint(v)]
    if odd:
        raise ValueError(f"{path} was edited: {', '.join(odd)} is not what it was. {RESTORE}")
    return values


def _is_free(name):
    return name in _FREE or name.partition("__")[0] == "callbacks"


def _fingerprint(value):
    if hasattr(value, "mixed_precision"):  # an accelerator, which also knows its machine
        value = str(value.mixed_precision)
    return fingerprint_or_none(_without_weights(value) if isinstance(value, nn.Module) else value)


@torch.no_grad()
def _without_weights(module):
    """Copy with zero weights: the stored ones are used, so those of the user may differ."""
    module = copy_of_module(module)
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.zero_()
    return module
