"""Items of a map-style Dataset: what of one goes into the module, and what is its target."""

from collections.abc import Mapping
from numbers import Number

import numpy as np
import torch
from torch.utils.data import default_collate

_TARGETS = ("labels", "label")


def inputs_and_target(item):
    """The parts of an item or of a batch; the target is None if it has none.

    Of a dict the target is ``labels`` (or ``label``), of a tuple or list with several entries the
    last one. A list of numbers is a row.
    """
    if type(item) is not tuple and isinstance(item, Mapping):
        name = next((name for name in _TARGETS if name in item), None)
        inputs = {key: value for key, value in item.items() if key != name}
        return inputs, None if name is None else item[name]
    if not isinstance(item, tuple) and not _is_list_of_parts(item):
        return item, None
    *inputs, last = item
    if not inputs:
        return last, None
    return (inputs[0] if len(inputs) == 1 else tuple(inputs)), last


def collated(inputs):
    """The batch of inputs of single rows; a ValueError if they do not fit together."""
    _check_names(inputs)
    try:
        if all(type(each) is np.ndarray for each in inputs):
            batch = _stacked(inputs)
        else:
            batch = default_collate([_without_lists(each) for each in inputs])
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            "X as a Dataset has rows that cannot be put into one batch: "
            f"{str(error).partition(chr(10))[0]} Return tensors or arrays of one shape, or pass "
            "iterator_train__collate_fn, which pads them."
        ) from error
    return as_batch(batch)


def _check_names(inputs):
    """Raise a ValueError for dicts of different names, of which a batch would lose some."""
    names = {frozenset(each) if isinstance(each, Mapping) else None for each in inputs}
    if len(names) > 1:
        differ = frozenset().union(*(some or () for some in names))
        differ = sorted(name for name in differ if not all(name in (some or ()) for some in names))
        raise ValueError(
            f"X as a Dataset has items with {differ} and items without. Give all the same names."
        )


def _stacked(arrays):
    """Tensor of arrays of one shape, in memory of torch, which is aligned; one copy."""
    # of all rows: the type of one would cut the numbers of the others
    joined = np.result_type(*{array.dtype for array in arrays})
    dtype = torch.from_numpy(np.empty(0, joined.newbyteorder("="))).dtype
    batch = torch.empty(len(arrays), *arrays[0].shape, dtype=dtype)
    np.stack(arrays, out=batch.numpy())
    return batch


def as_batch(inputs):
    """Inputs that a collate function made, as a tensor, a dict or a tuple of tensors."""
    if isinstance(inputs, Mapping):
        return {name: _as_tensor(part, repr(name)) for name, part in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(_as_tensor(part, f"place {i}") for i, part in enumerate(inputs))
    return _as_tensor(inputs, "a batch")


def _is_list_of_parts(item):
    return isinstance(item, list) and not all(isinstance(part, Number) for part in item)


def _without_lists(inputs):
    """An input whose lists of numbers, such as token ids, are tensors."""
    if isinstance(inputs, torch.Tensor | np.ndarray):
        return inputs
    if isinstance(inputs, Mapping):
        return {name: _without_lists(part) for name, part in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(map(_without_lists, inputs))
    return torch.as_tensor(inputs) if isinstance(inputs, list) else inputs


def _as_tensor(part, where):
    if isinstance(part, np.ndarray):
        part = torch.as_tensor(part)
    if not isinstance(part, torch.Tensor):
        raise ValueError(
            f"X as a Dataset must give tensors, got {type(part).__name__} in {where}. Return "
            "tensors, leave out what forward does not take, or let iterator_train__collate_fn "
            "make tensors."
        )
    if part.is_complex():
        raise ValueError(
            f"X as a Dataset must give real numbers, got {part.dtype} in {where}. Use "
            "torch.view_as_real, or the absolute values."
        )
    return part.detach()
