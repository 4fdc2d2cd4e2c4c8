"""A batch in parts that climb apart (m-sharpness): which rows, which masks, which weight."""

from collections.abc import Mapping
from contextlib import contextmanager
from itertools import pairwise

import torch

from sam_attribution.training._data import Batch
from sam_attribution.training._random import derived_seed


def part_slices(n_rows, m):
    """Slices of a batch into parts of at most `m` rows, which differ by one row at most.

    One slice for None.
    """
    n_parts = 1 if m is None else max(1, -(-n_rows // m))
    edges = [number * n_rows // n_parts for number in range(n_parts + 1)]
    return [slice(*ends) for ends in pairwise(edges)]


def part_seed(seed, number):
    """Seed of the dropout masks of a part, from that of the step; the first part has this."""
    return seed if number == 0 else derived_seed(seed, number)


def n_rows_of(batch):
    """Number of rows of a batch."""
    rows = getattr(batch, "indices", None)
    return len(_first_tensor(batch) if rows is None else rows)


def part_of(batch, rows):
    """The rows of a batch at a slice, a batch of the same kind."""
    if isinstance(batch, Batch):
        return Batch([_taken(each, rows) for each in batch], batch.indices[rows])
    return _taken(batch, rows)


@contextmanager
def weights_of_part(net, rows):
    """Context in which the weights of the batch, and those of a repetition, are those of a part."""
    whole, row_weights = net._batch_weight, net._row_weights
    net._batch_weight = None if whole is None else whole[rows]
    net._row_weights = None if row_weights is None else row_weights.of_part(rows)
    try:
        yield
    finally:
        net._batch_weight, net._row_weights = whole, row_weights


def _taken(value, rows):
    if isinstance(value, torch.Tensor):
        return value[rows]
    if isinstance(value, Mapping):
        return type(value)({key: _taken(each, rows) for key, each in value.items()})
    if isinstance(value, tuple | list):
        return type(value)([_taken(each, rows) for each in value])
    raise TypeError(
        f"m_sharpness needs batches of tensors, which it can split, got {type(value).__name__}. "
        "Give iterator_train a collate_fn that makes tensors, or leave m_sharpness out."
    )


def _first_tensor(value):
    """The first tensor within nested lists, tuples and mappings."""
    if isinstance(value, torch.Tensor):
        return value
    inner = value.values() if isinstance(value, Mapping) else value
    return _first_tensor(next(iter(inner)))
