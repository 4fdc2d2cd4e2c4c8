"""Batches, which are tensors, dicts or tuples of tensors, and rows that may be one or a source."""

from collections.abc import Mapping

import torch

from sam_attribution._row_source import RowSource, each_tensor


def tensors_in(batch):
    """The tensors of a batch, as a list."""
    if isinstance(batch, dict):
        return [*batch.values()]
    return [*batch] if isinstance(batch, tuple) else [batch]


def names_of(batch):
    """Names of several inputs in the order of the alphabet, or their number; 1 for a single one."""
    if isinstance(batch, Mapping) and len(batch) > 1:
        return sorted(batch)
    return len(batch) if isinstance(batch, tuple) else 1


def n_rows_in(batch):
    """Number of rows of a batch."""
    return len(tensors_in(batch)[0])


def numbers_in(batch):
    """Number of numbers that a batch holds."""
    return sum(tensor.numel() for tensor in tensors_in(batch))


def rows_in(batch, rows):
    """The rows of a batch at some positions, as a batch."""
    return each_tensor(lambda tensor: tensor[rows], batch)


def single_rows(batch):
    """The batches of one row each."""
    return [rows_in(batch, slice(i, i + 1)) for i in range(n_rows_in(batch))]


def whole_of(X):
    """All rows of a tensor or source, as a batch."""
    return X[:] if isinstance(X, RowSource) else X


def few_of(X, positions):
    """Rows at `positions` (on the CPU), as a batch."""
    return X[positions] if isinstance(X, RowSource) else X[positions.to(X.device)]


def part_of(X, rows):
    """Rows of a tensor or source that are one themselves."""
    return X.part(rows) if isinstance(X, RowSource) else X[rows]


def passes_over(X, rows, size):
    """Split positions in `X` into passes of at most `size` rows; a source may read ahead."""
    parts = rows.split(size)
    return X.passes(parts) if isinstance(X, RowSource) else parts


def to_dtype(X, dtype):
    """Tensor, batch or source with floating-point numbers of a dtype; whole numbers stay."""
    if isinstance(X, RowSource):
        return X.to_dtype(dtype)
    return each_tensor(lambda t: t.to(dtype) if t.is_floating_point() else t, X)


def device_of(X):
    """Device of a tensor, batch or source."""
    return X.device if isinstance(X, RowSource | torch.Tensor) else tensors_in(X)[0].device
