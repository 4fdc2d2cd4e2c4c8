"""Rows of a map-style Dataset, which may be images on disk, tokens or the output of a function."""

import numpy as np
from torch.utils.data import IterableDataset, Subset

from sam_attribution._fingerprint import fingerprint
from sam_attribution._row_source import RowSource
from sam_attribution._rows._ahead import read_ahead
from sam_attribution._rows._batches import names_of, rows_in
from sam_attribution._rows._items import inputs_and_target
from sam_attribution._rows._reading import Reading
from sam_attribution._rows._targets import plain, targets_of

_N_LOOKED_AT = 16
_N_COMPARED = 256  # labels may differ in few rows


class DatasetRows(RowSource):
    """Rows of a Dataset, without their targets; random transforms follow seed, row and epoch.

    With `num_workers` the batches of a pass are read ahead in other processes.
    """

    epoch = 0
    _seed = 0
    _ahead = None

    def __init__(self, dataset, collate_fn=None, num_workers=0):
        check_is_map_style(dataset)
        self._reading = Reading(dataset, collate_fn)
        if not len(self):
            raise ValueError(f"X as a Dataset ({type(dataset).__name__}) has no items.")
        self._num_workers = num_workers

    @property
    def dataset(self):
        """The Dataset as it was given."""
        return self._reading.dataset

    @property
    def draws(self):
        return self._reading.draws

    @property
    def row_names(self):
        """Names of the inputs of a row, or their number; None where a function changes them."""
        if self._reading.collate_fn is not None:
            return None
        return names_of(inputs_and_target(self._reading.items(self._all_rows([0]))[0])[0])

    @property
    def row_shape(self):
        """Shape of the first row, if that is one tensor; else None."""
        inputs, _ = inputs_and_target(self._reading.items(self._all_rows([0]))[0])
        return tuple(inputs.shape) if hasattr(inputs, "shape") else None

    def with_loader(self, collate_fn=None, num_workers=0):
        """The same rows, put together by a function and read by a number of processes."""
        if collate_fn is self._reading.collate_fn and num_workers == self._num_workers:
            return self
        of_items = self._reading.targets, self._reading.n_items
        reading = Reading(self.dataset, collate_fn, *of_items)
        return self._with(_reading=reading, _num_workers=num_workers)

    def seeded(self, seed):
        return self._with(_seed=seed)

    def at_epoch(self, epoch):
        return self._with(epoch=epoch, _ahead=None)

    def inputs(self):
        """What each item holds besides its target, one by one and as the Dataset gives it."""
        for row in self._all_rows(slice(None)):
            yield inputs_and_target(self._reading.items(row[None], self._seed)[0])[0]

    def targets(self, *, verbose=0):
        """Targets that the items have, array of shape (n_samples,); ValueError if they do not."""
        found = targets_of(self._reading, _spread(self._n_all(), _N_COMPARED), verbose=verbose)
        self._reading.targets = found
        return found if self._rows is None else found[self._rows]

    def check_is_repeatable(self):
        """Raise a ValueError for rows that are others when they are read again."""
        some = self._all_rows(_spread(len(self), 2))
        together = [*map(_hash_of, self._reading.items(some))]
        if together != [_hash_of(self._reading.items(row[None])[0]) for row in some]:
            raise ValueError(
                f"X as a Dataset ({type(self.dataset).__name__}) gives other items when it is "
                "read again. It draws from a random generator of its own, changes, or returns "
                "one array for all items. Draw random transforms from the global streams of "
                "torch, numpy or random, which are seeded, and return copies of arrays that the "
                "Dataset writes into."
            )

    def check_collate_fn(self):
        """Raise a ValueError if the collate function gives a few items other targets, as mixup."""
        if self._reading.collate_fn is None:
            return
        some = self._all_rows(_spread(len(self)))
        own = [inputs_and_target(item)[1] for item in self._reading.items(some, self._seed)]
        _, targets = self._reading.batch(some, self._seed, self.epoch)
        if targets is None or own[0] is None:
            return
        if len(targets) != len(own) or list(map(plain, targets)) != list(map(plain, own)):
            raise ValueError(
                "iterator_train__collate_fn changes the targets of the items, as mixup does, but a "
                "row is scored with its own target. Use one that leaves the targets as they are."
            )

    def content(self):
        some = self._reading.items(self._all_rows(_spread(len(self))), self._seed)
        inputs = [inputs_and_target(item)[0] for item in some]
        kind = type(self.dataset)
        return kind.__module__, kind.__qualname__, len(self), _hash_of(inputs)

    def given(self):
        return self.dataset if self._rows is None else Subset(self.dataset, self._rows.tolist())

    def passes(self, parts):
        if self._num_workers == 0 or len(parts) < 2:
            return parts
        return self._reading_ahead(parts)

    def _reading_ahead(self, parts):
        before = self._ahead
        jobs = [(self._all_rows(part), self._seed, self.epoch) for part in parts]
        self._ahead = read_ahead(self._reading, jobs, self._num_workers)
        try:
            yield from parts
        finally:
            self._ahead.close()
            self._ahead = before

    def _read(self, rows):
        if not len(rows):
            return rows_in(self._read(self._all_rows([0])), slice(0))
        job = rows, self._seed, self.epoch
        if self._ahead is not None:
            self._ahead.bring(self._reading, job)
        return self._reading.batch(*job)[0]

    def _n_all(self):
        self._reading.check_length()
        return self._reading.n_items

    def __getstate__(self):
        return {**vars(self), "_ahead": None}


def check_is_map_style(dataset):
    """Raise a ValueError for a Dataset whose items have no positions."""
    if isinstance(dataset, IterableDataset) or not hasattr(type(dataset), "__len__"):
        raise ValueError(
            f"X must be a map-style Dataset, got {type(dataset).__name__}. Its items have no "
            "positions, and a score belongs to a position. Give it __getitem__ and __len__, or "
            "collect its items in a list or a file."
        )


def _as_data(item):
    """An item with arrays in the place of images that can be one."""
    if isinstance(item, dict):
        return {name: _as_data(part) for name, part in item.items()}
    if isinstance(item, list | tuple):
        return [_as_data(part) for part in item]
    is_image = hasattr(item, "__array_interface__") and not isinstance(item, np.ndarray)
    return np.asarray(item) if is_image else item


def _spread(n, n_wanted=_N_LOOKED_AT):
    """Up to `n_wanted` positions from the first to the last of `n`."""
    return np.linspace(0, n - 1, min(n, n_wanted)).round().astype(int)


def _hash_of(items):
    try:
        return fingerprint(_as_data(items))
    except Exception as error:  # of what the user's items hold
        raise ValueError(
            f"X as a Dataset has items whose content cannot be compared: {error} Return tensors "
            "or arrays."
        ) from error
