"""The targets that a Dataset itself has, for all of its rows."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.utils.data import Subset, TensorDataset
from tqdm.auto import tqdm

from sam_attribution._as_arrays import PAD_TARGETS, refuse_ragged
from sam_attribution._rows._items import inputs_and_target

_ATTRIBUTES = ("targets", "labels", "label")
_AT_ONCE = 64


def targets_of(reading, some, *, verbose=0):
    """Targets of all items of a Dataset, an array; a ValueError if the items have none.

    They are those of an attribute such as ``targets``, if it agrees with the items at the
    positions `some`; otherwise each item is read once.
    """
    read = [*_read(reading, some)]
    if any(target is None for target in read):
        raise ValueError(
            f"y is None, and the items of {type(reading.dataset).__name__} have no target: they "
            "must be pairs (x, y) or dicts with 'labels'. Pass y, with an entry for each item."
        )
    if odd := next((target for target in read if isinstance(target, Mapping)), None):
        raise ValueError(
            f"X as a Dataset gives {type(odd).__name__} as y, the last part of an item. Give pairs "
            "(x, y), without metadata, or pass y."
        )
    known = _attribute_of(reading.dataset)
    if known is not None and _agree(known[some], read):
        return known
    rows = np.arange(len(reading.dataset))
    items = _read(reading, rows)
    shown = {"desc": "reading targets", "unit": "row", "leave": False, "disable": not verbose}
    found = [*tqdm(items, total=len(rows), **shown)]
    refuse_ragged(found, "y of a Dataset", PAD_TARGETS)
    return _as_array(found)


def _read(reading, rows):
    """Yield the targets of the items of some rows, of which a few are in memory at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        for item in reading.items(rows[start : start + _AT_ONCE]):
            yield plain(inputs_and_target(item)[1])


def _attribute_of(dataset):
    """Targets that a Dataset holds as an attribute, an array; None if it holds none."""
    if type(dataset) is Subset:
        whole = _attribute_of(dataset.dataset)
        return None if whole is None else whole[np.asarray(dataset.indices)]
    if type(dataset) is TensorDataset:
        return dataset.tensors[-1].cpu().numpy() if len(dataset.tensors) > 1 else None
    columns = getattr(dataset, "column_names", None) or ()  # of Hugging Face datasets
    for name in _ATTRIBUTES:
        values = dataset[name] if name in columns else getattr(dataset, name, None)
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().numpy()
        if isinstance(values, np.ndarray | list | tuple) and len(values) == len(dataset):
            values = _as_array(values)
            return values if values.ndim == 1 else None
    return None


def _as_array(targets):
    """Array of targets; words stay apart from what numpy would turn into words beside them."""
    found = np.asarray(targets)
    kinds = {type(each) for each in targets} if found.dtype.kind in "US" else set()
    return np.array(targets, dtype=object) if len(kinds) > 1 else found


def _agree(known, read):
    return all(np.array_equal(one, other) for one, other in zip(known, read, strict=True))


def plain(target):
    """A target as a Python object: tensors and numpy's scalars of one number become one."""
    if isinstance(target, torch.Tensor):
        target = target.detach().cpu().numpy()
    if isinstance(target, np.ndarray | np.generic) and target.size == 1:
        return target.reshape(-1)[0].item()
    return target
