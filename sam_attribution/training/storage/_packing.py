"""Nested plain data as one safetensors file, without pickle, so that a file holds no code."""

import json
from collections import OrderedDict
from pathlib import Path, PurePath

import numpy as np
import torch
from safetensors.torch import load, save

_SEQUENCES = {"list": list, "tuple": tuple, "set": set}


def to_bytes(value):
    """Content of a safetensors file: tensors as such, the rest as JSON in its header."""
    packer = Packer()
    content = json.dumps(packer.pack(value, "content"))
    return save(packer.tensors, metadata={"content": content})


def from_bytes(data):
    """Value that was given to :func:`to_bytes`; tensors are on the CPU."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return unpack(json.loads(header["__metadata__"]["content"]), load(data))


def tensors_in(value):
    """Tensors and arrays in plain data, by their place; None if `value` is not plain data."""
    packer = Packer()
    try:
        packer.pack(value, "value")
    except TypeError:
        return None
    return packer.tensors


class Packer:
    """Converter of values into JSON; it collects their tensors, named after their place."""

    def __init__(self):
        self.tensors = {}
        self._names = {}

    def pack(self, value, name):
        """JSON for `value`, to be read by :func:`unpack` together with ``tensors``."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, torch.Tensor):
            return {"tensor": self._collect(value.detach(), name)}
        if isinstance(value, np.ndarray):
            return self._array(value, name)
        if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
            return {"scalar": self.pack(value.item(), name), "dtype": value.dtype.str}
        if isinstance(value, torch.dtype | torch.device):
            return {type(value).__name__: str(value).removeprefix("torch.")}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        if type(value) in _SEQUENCES.values():
            return {type(value).__name__: self._items(value, name)}
        if type(value) in (dict, OrderedDict):
            return {
                "dict": [
                    [self.pack(k, name), self.pack(v, f"{name}.{k}")] for k, v in value.items()
                ]
            }
        raise TypeError(f"{name} is a {type(value).__name__}, which cannot be stored as data.")

    def _items(self, values, name):
        return [self.pack(item, f"{name}.{i}") for i, item in enumerate(values)]

    def _array(self, array, name):
        if array.dtype.hasobject:
            return {"objects": self._items(array.ravel().tolist(), name), "shape": [*array.shape]}
        content = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
        place = self._collect(content, name)
        return {"array": place, "dtype": array.dtype.str, "shape": [*array.shape]}

    def _collect(self, tensor, name):
        # tied weights are one tensor under two names: safetensors wants it once
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and identity in self._names:
            return self._names[identity]
        while name in self.tensors:
            name += "_"
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        self.tensors[name] = (tensor if whole else tensor.clone()).cpu().contiguous()
        self._names[identity] = name
        return name


def unpack(packed, tensors):
    """Value that was given to :meth:`Packer.pack`."""
    match packed:
        case {"tensor": name}:
            return tensors[name]
        case {"array": name, "dtype": dtype, "shape": shape}:
            return np.frombuffer(tensors[name].numpy().tobytes(), dtype).reshape(shape).copy()
        case {"objects": items, "shape": shape}:
            return _objects([unpack(item, tensors) for item in items], shape)
        case {"scalar": value, "dtype": dtype}:
            return np.dtype(dtype).type(value)
        case {"dtype": name}:
            return _torch_dtype(name)
        case {"device": name}:
            return torch.device(name)
        case {"path": name}:
            return Path(name)
        case {"dict": pairs}:
            return {unpack(k, tensors): unpack(v, tensors) for k, v in pairs}
        case {"list": items} | {"tuple": items} | {"set": items}:
            kind = _SEQUENCES[next(iter(packed))]
            return kind(unpack(item, tensors) for item in items)
        case _:
            return packed


def _torch_dtype(name):
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"torch has no dtype {name!r:.40}")
    return found


def _objects(items, shape):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)
