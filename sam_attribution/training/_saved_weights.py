"""Weights from a state dict or a file, as parameters and buffers of one module."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution.parameters import ParameterLayout
from sam_attribution.training._tied_weights import check_tied, tied_names, with_tied

_KEYS = ("state_dict", "model_state_dict", "model")  # of Lightning, of torch's tutorials, others
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


class SavedWeights:
    """Reads state dicts, and files that hold one, for a `module`, which does not change.

    What was read last stays in memory.
    """

    def __init__(self, module):
        self._module = module
        self._layout = ParameterLayout(module)
        self._tied = tied_names(module)
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
        check_tied(found, self._tied, name)
        pairs = zip(self._layout.names, self._layout.parameters_of(self._module), strict=True)
        params = self._layout.flatten([found[key].to("cpu", p.dtype) for key, p in pairs])
        if not params.isfinite().all():
            raise ValueError(f"{name} has weights that are not finite. Leave it out.")
        buffers = {
            key: found.get(key, buffer).detach().to("cpu", buffer.dtype, copy=True)
            for key, buffer in self._module.named_buffers()
        }
        if undefined := [key for key, buffer in buffers.items() if buffer.isnan().any()]:
            raise ValueError(f"{name} has NaN in {undefined[0]!r}, a buffer. Leave it out.")
        return params, buffers

    def _checked(self, found, name):
        """`found` by the names of the module; values need a ``shape`` and a type alone."""
        own = {k: v for k, v in self._module.state_dict().items() if torch.is_tensor(v)}
        found = _as_named(found, own, self._tied)
        if missing := sorted(own.keys() - found.keys()):
            raise ValueError(
                f"{name} has no {missing[0]!r} ({len(missing)} of the {len(own)} tensors of "
                f"module are missing); it has {_some(found)}. {_remedy(found, own)}"
            )
        if unexpected := sorted(found.keys() - own.keys()):
            raise ValueError(
                f"{name} has {_some(unexpected)}, which module does not have: it belongs to "
                "another network. Save state_dict() of this module."
            )
        for key, tensor in own.items():
            if tuple(found[key].shape) != tuple(tensor.shape):
                raise ValueError(
                    f"{name} has {key!r} in shape {tuple(found[key].shape)}, module in "
                    f"{tuple(tensor.shape)}: it belongs to another network."
                )
            if tensor.is_floating_point() and not _holds_reals(found[key]):
                raise ValueError(
                    f"{name} has {key!r} in {_form(found[key])}, module in "
                    f"{_form(tensor)}. Save dense weights in floating-point numbers."
                )
        return found

    def _check_frozen(self, found, name):
        for key, p in self._module.named_parameters():
            if not p.requires_grad and not torch.equal(found[key].to(p), p):
                raise ValueError(
                    f"{name} has other values of {key!r} than module, where this parameter is "
                    "frozen: it was trained. Set requires_grad=True before from_module, and "
                    "choose what is attributed by parameters=."
                )


def _as_named(found, own, tied):
    """`found` by the keys of `own`, if names of wrappers before every key are all that differs."""
    for renamed in _renamings(found, own):
        named = with_tied(renamed, tied)
        if named.keys() == own.keys():
            return named
    return found


def _renamings(found, own):
    """Yield `found`, without wrappers that its keys name, and with those of the keys of `own`."""
    yield found
    for wrapper in _wrappers_in(found):
        yield {key.removeprefix(wrapper): value for key, value in found.items()}
    for wrapper in _wrappers_in(own):
        yield {wrapper + key: value for key, value in found.items()}


def _wrappers_in(keys):
    """What all keys begin with, up to each of its dots."""
    first = next(iter(keys), "")
    starts = (first[: place + 1] for place, letter in enumerate(first) if letter == ".")
    return [start for start in starts if all(key.startswith(start) for key in keys)]


def _remedy(found, own):
    """Advice for a state dict without the keys of `own`, which may lie under a prefix in it."""
    some = next(iter(own))
    starts = [key.removesuffix(some) for key in found if key.endswith(f".{some}")]
    for start in starts:
        if all(f"{start}{key}" in found for key in own):
            return (
                f"Those of module lie under {start!r} there, beside others: pass "
                f"{{k.removeprefix({start!r}): v for k, v in state.items() "
                f"if k.startswith({start!r})}}."
            )
    return "Save state_dict() of this module."


def _holds_reals(tensor):
    return tensor.layout is torch.strided and tensor.dtype.is_floating_point


def _form(tensor):
    layout = "" if tensor.layout is torch.strided else f"{tensor.layout}, "
    return f"{layout}{tensor.dtype}".replace("torch.", "")


def _some(names):
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or "no tensor"


class _Unread:
    """Shape and type of a tensor in a file of safetensors that was not read."""

    layout = torch.strided

    def __init__(self, part):
        self.shape = part.get_shape()
        self.dtype = _DTYPES.get(part.get_dtype(), torch.int64)


def _shapes_in(path, name):
    if _is_safetensors(path):
        with _readable(path, name), safe_open(path, "pt") as file:
            names = file.keys()  # the file is no mapping
            return {key: _Unread(file.get_slice(key)) for key in names}
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
