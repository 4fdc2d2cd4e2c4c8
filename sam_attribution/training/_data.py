"""Batches that know which training rows they hold."""

import numpy as np
import torch
from scipy.sparse import issparse
from skorch.dataset import Dataset
from skorch.utils import to_device
from torch.utils.data import DataLoader, IterableDataset, Subset, default_collate

from sam_attribution._row_source import each_tensor


class Batch(list):
    """``[X, y]`` of one batch and ``indices``, the training rows in it."""

    def __init__(self, items, indices):
        super().__init__(items)
        self.indices = indices

    def to(self, device):
        """The same batch on a device; accelerate calls this, or would make a plain list of it."""
        return Batch([to_device(part, device) for part in self], self.indices)


class SourceDataset(torch.utils.data.Dataset):
    """A source of rows with their targets, as a Dataset of pairs."""

    def __init__(self, X, y=None):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        X, y = self.batch(np.array([i]))
        return each_tensor(lambda tensor: tensor[0], X), y[0]

    def batch(self, rows, epoch=0):
        """Rows at some positions as they are in an epoch, and their targets."""
        return [self.X.at_epoch(epoch)[rows], _take(self.y, rows)]


class IndexedDataset(torch.utils.data.Dataset):
    """A dataset whose batches come with the positions of their rows.

    The positions in a ``Subset`` are those in the data below it, which the user passed to ``fit``.
    Without a `collate_fn`, plain arrays are indexed at once. A source of rows has one of its own.
    """

    def __init__(self, dataset, collate_fn=None):
        self.rows, self.dataset = _look_through(dataset)
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self.collate_fn = collate_fn or default_collate
        self.in_one_go = collate_fn is None and _is_plain(self.dataset)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.dataset[self.rows[i]]

    def __getitems__(self, positions):
        return self.batch(self.rows[positions])

    def share_epoch(self):
        """Let processes that read see the epoch change, though they outlive one."""
        self._epoch.share_memory_()

    def set_epoch(self, epoch):
        """Read the rows from now on as they are in an epoch of training, counted from 0."""
        self._epoch.fill_(epoch)

    def batch(self, rows):
        """The batch of the given training rows."""
        if isinstance(self.dataset, SourceDataset):
            return Batch(self.dataset.batch(np.asarray(rows), int(self._epoch)), rows)
        if self.in_one_go:
            X, y = self.dataset.X, self.dataset.y
            return Batch([_take(X, rows), _take(y, rows)], rows)
        return Batch(self.collate_fn([self.dataset[i] for i in rows]), rows)


def indexed_loader(loader, dataset, options):
    """A `loader` with these options whose batches are of class :class:`Batch`."""
    dataset = IndexedDataset(dataset, options.pop("collate_fn", None))
    if options.get("num_workers"):
        dataset.share_epoch()
    # a generator of its own: DataLoader would draw a base seed from the global stream
    options.setdefault("generator", torch.Generator())
    return loader(dataset, collate_fn=_as_is, **options)


def can_be_indexed(loader, dataset):
    """True if :func:`indexed_loader` supports the two."""
    known = isinstance(loader, type) and issubclass(loader, DataLoader)
    return known and not isinstance(dataset, IterableDataset)


def reads_source(dataset):
    """True for a :class:`SourceDataset`, or a subset of one."""
    return isinstance(_look_through(dataset)[1], SourceDataset)


def _as_is(batch):
    return batch


def _look_through(dataset):
    rows = np.arange(len(dataset))
    while type(dataset) is Subset:
        rows = np.asarray(dataset.indices)[rows]
        dataset = dataset.dataset
    return rows, dataset


def _is_plain(dataset):
    # a subclass may transform single rows
    return (
        type(dataset) is Dataset
        and (issparse(dataset.X) or isinstance(dataset.X, np.ndarray | torch.Tensor))
        and isinstance(dataset.y, np.ndarray | torch.Tensor | None)
    )


def _take(data, rows):
    if data is None:
        return torch.zeros(len(rows), dtype=torch.float32)  # skorch's stand-in for a missing target
    part = data[rows]
    if isinstance(part, torch.Tensor):
        return part
    return torch.from_numpy(part.toarray() if issparse(part) else part)
