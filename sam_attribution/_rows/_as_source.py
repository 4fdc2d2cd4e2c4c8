"""Rows as a user passes them, as a source where they are not one array in memory."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from torch.utils.data import DataLoader, Dataset

from sam_attribution._as_arrays import (
    refuse_masked,
    refuse_odd_tensor,
    refuse_ragged,
    refuse_repeated_columns,
    without_nullable,
)
from sam_attribution._row_source import RowSource
from sam_attribution._rows._arrays import ArrayRows
from sam_attribution._rows._dataset import DatasetRows
from sam_attribution._validation import num_samples

_DATASETS = Dataset, DataLoader


def is_lazy(X):
    """True for rows that are read when they are needed: what :func:`as_source` changes."""
    return (
        isinstance(X, RowSource | np.memmap)
        or is_dataset(X)
        # dok_array is a dict
        or (isinstance(X, Mapping) and not issparse(X))
        or _is_tuple_of_arrays(X)
    )


def is_dataset(X):
    """True for a Dataset of torch, or one that reads several items at once as those of datasets.

    A DataLoader counts as one, so that it is refused by name.
    """
    return isinstance(X, _DATASETS) or hasattr(X, "__getitems__")


def as_source(X, name="X"):
    """`X` as a source if it :func:`is_lazy`; any other `X` as it is.

    Raises a TypeError or ValueError that calls it `name` for rows that cannot be read so.
    """
    refuse_odd_tensor(X, name)
    refuse_repeated_columns(X, name)
    if isinstance(X, RowSource) or not is_lazy(X):
        return X
    if isinstance(X, DataLoader):
        raise ValueError(
            f"{name} must be rows that have positions, got a DataLoader. Pass its Dataset "
            "(loader.dataset), and set batch_size and iterator_train__num_workers on the net."
        )
    if is_dataset(X):
        source = DatasetRows(X)
        source.check_is_repeatable()
        return source
    if isinstance(X, Mapping):
        X = _checked_mapping(X, name)
    elif isinstance(X, tuple):
        _check_lengths(dict(enumerate(X)), f"{name} as a tuple")
    elif not _holds_numbers(X):
        raise TypeError(f"{name} must hold numbers that torch knows, got {X.dtype}.")
    source = ArrayRows(X)
    source.check_is_finite(name)
    return source


def dataset_as_source(X):
    """A Dataset as a source of rows; anything else as it is."""
    refuse_odd_tensor(X, "X")
    return as_source(X) if is_dataset(X) else X


def with_own_targets(X, y=None, *, verbose=0):
    """`X` as a source where it is lazy, and `y`, or the targets of a Dataset if that is None."""
    X = as_source(X)
    if y is None and isinstance(X, DatasetRows):
        y = X.targets(verbose=verbose)
    return X, y


def _is_tuple_of_arrays(X):
    """True for the inputs of a module with several; a tuple of rows or of lists is an array."""
    sizes = [getattr(part, "ndim", 0) for part in X] if isinstance(X, tuple) else []
    return bool(sizes) and min(sizes) > 0 and max(sizes) > 1


def _checked_mapping(X, name):
    """The dict `X`; raise unless it holds numeric arrays of one length by name."""
    if not X or not all(isinstance(key, str) for key in X):
        raise TypeError(
            f"{name} as a dict must hold arrays by the names of forward's arguments, got {[*X]}."
        )
    _check_lengths(X, f"{name} as a dict")
    return dict(X)


def _check_lengths(parts, what):
    for key, part in parts.items():
        refuse_masked(part, f"{what}, {key!r},")
        refuse_odd_tensor(part, f"{what}, {key!r},")
        refuse_ragged(part, f"{what}, {key!r},")
    if single := [key for key, part in parts.items() if not _has_rows(part)]:
        raise TypeError(
            f"{what} must hold arrays with an entry for each row, got a single "
            f"{type(parts[single[0]]).__name__} under {single}."
        )
    if words := [key for key, part in parts.items() if not _holds_numbers(part)]:
        raise TypeError(f"{what} must hold numbers, got other values under {words}.")
    lengths = {key: num_samples(part) for key, part in parts.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{what} must hold arrays of one length, got {lengths}.")


def _holds_numbers(part):
    if isinstance(part, torch.Tensor):
        return not part.is_complex()
    dtype = part.dtype if issparse(part) else np.asarray(without_nullable(part)).dtype
    return dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8)


def _has_rows(part):
    return part.ndim > 0 if hasattr(part, "ndim") else hasattr(part, "__len__")
