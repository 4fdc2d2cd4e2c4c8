"""Weights from a state dict or a file, as parameters and buffers of one module."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution.parameters import ParameterLayout

_KEYS = ("state_dict", "model_state_dict")  # of Lightning, and of torch's tutorials


class SavedWeights:
    """Reads state dicts, and files that hold one, for a `module`, which does not change.

    What was read last stays in memory.
    """

    def __init__(self, module):
        self._module = module
        self._layout = ParameterLayout(module)
        self._last = None, None

    def check(self, state, name):
        """Raise a ValueError unless `state` holds every tensor of the module, in its shape.

        Of a file no more than names and shapes is read. `name` is for the message.
        """
        found = _shapes_in(state, name) if isinstance(state, str) else weights_in(state, name)
        self._checked(found, name)

    def read(self, state, name):
        """Flat parameters and a dict of buffers, on the CPU, in the types of the module."""
        if self._last[0] is not state:
            self._last = state, self._read(state, name)
        return self._last[1]

    @torch.no_grad()
    def _read(self, state, name):
        found = weights_in(_load(state, name) if isinstance(state, str) else state, name)
        found = self._checked(found, name)
        self._check_frozen(found, name)
        pairs = zip(self._layout.names, self._layout.parameters_of(self._module), strict=True)
        params = self._layout.flatten([found[key].to("cpu", p.dtype) for key, p in pairs])
        if not params.isfinite().all():
            raise ValueError(f"{name} has weights that are not finite. Leave it out.")
        buffers = {
            key: found.get(key, buffer).detach().to("cpu", buffer.dtype, copy=True)
            for key, buffer in self._module.named_buffers()
        }
        return params, buffers

    def _checked(self, found, name):
        """`found` by the names of the module; values need a ``shape`` alone."""
        own = {k: v for k, v in self._module.state_dict().items() if torch.is_tensor(v)}
        found = _without_prefix(found, own)
        if missing := sorted(own.keys() - found.keys()):
            raise ValueError(
                f"{name} has no {missing[0]!r} ({len(missing)} of the {len(own)} tensors of "
                f"module are missing); it has {_some(found)}. Save state_dict() of this module."
            )
        if unexpected := sorted(found.keys() - own.keys()):
            raise ValueError(
                f"{name} has {_some(unexpected)}, which module has not: it belongs to another "
                "network. Save state_dict() of this module."
            )
        for key, tensor in own.items():
            if tuple(found[key].shape) != tuple(tensor.shape):
                raise ValueError(
                    f"{name} has {key!r} in shape {tuple(found[key].shape)}, module in "
                    f"{tuple(tensor.shape)}: it belongs to another network."
                )
        return found

    def _check_frozen(self, found, name):
        for key, p in self._module.named_parameters():
            if not p.requires_grad and not torch.equal(found[key].to(p), p):
                raise ValueError(
                    f"{name} has other values of {key!r} than module, where this parameter is "
                    "frozen: it was trained on the way. Set requires_grad=True before "
                    "from_module, and choose what is attributed by parameters=."
                )


def _without_prefix(found, own):
    """`found` without the name of wrappers before every key, if that gives the keys of `own`."""
    stripped = found
    while stripped.keys() != own.keys():
        first = {key.partition(".")[0] for key in stripped}
        if len(first) != 1 or not all("." in key for key in stripped):
            return found
        stripped = {key.partition(".")[2]: value for key, value in stripped.items()}
    return stripped


def _some(names):
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or "no tensor"


class _Shape:
    """Shape of a tensor that was not read."""

    def __init__(self, shape):
        self.shape = shape


def _shapes_in(path, name):
    if _is_safetensors(path):
        with _readable(path, name), safe_open(path, "pt") as file:
            names = file.keys()  # the file is no mapping
            return {key: _Shape(file.get_slice(key).get_shape()) for key in names}
    return weights_in(_load(path, name, device="meta"), name)


def _load(path, name, device="cpu"):
    with _readable(path, name):
        if _is_safetensors(path):
            return load_file(path, device)
        return torch.load(path, map_location=device, weights_only=True)


def _is_safetensors(path):
    return path.endswith(".safetensors")


@contextmanager
def _readable(path, name):
    """Context that says which file could not be read."""
    if not Path(path).is_file():
        is_folder = " It is a folder: name the file in it." if Path(path).is_dir() else ""
        raise ValueError(f"{name}: there is no file {path!r}.{is_folder}")
    try:
        yield
    except OUT_OF_MEMORY:
        raise
    except Exception as error:  # of torch and pickle, which raise many kinds
        raise ValueError(
            f"{name}: {path!r} cannot be read as weights ({type(error).__name__}: "
            f"{str(error).partition('.')[0]:.200}). Save module.state_dict() by torch.save, or as "
            "safetensors. A file with other objects in it has to be loaded by you: pass the state "
            "dict itself."
        ) from error


def weights_in(state, name):
    """The tensors of a state dict, or of the one that lies under a usual key."""
    for key in _KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{name} holds a {type(state).__name__} instead of a state dict. Save "
            "module.state_dict()."
        )
    return {key: value for key, value in state.items() if torch.is_tensor(value)}
