"""Batches of a map-style Dataset as a function of rows, seed and epoch."""

import numpy as np

from sam_attribution._rows._batches import tensors_in
from sam_attribution._rows._items import as_batch, collated, inputs_and_target
from sam_attribution._rows._streams import mixed, next_numbers, seed_streams, untouched_streams
from sam_attribution._rows._targets import plain


class Reading:
    """A Dataset whose rows are the same ones whenever they are read in one epoch.

    A row's random transforms draw from streams that its seed, position and epoch fix. The last
    batch is kept, so that inputs and targets, or two passes over a batch, are read once. Items are
    compared with the `targets` of the Dataset, if these are known, and their number with `n_items`,
    by default what it is now.
    """

    def __init__(self, dataset, collate_fn=None, targets=None, n_items=None):
        self.dataset = dataset
        self.n_items = len(dataset) if n_items is None else n_items
        self.collate_fn = collate_fn
        self.targets = targets
        self.draws = False  # True once an item was seen to draw random numbers
        self._last = None, None, ()

    def batch(self, rows, seed, epoch):
        """Inputs and targets of some rows; targets are None if the items have none."""
        key = rows.tobytes(), seed, epoch
        known, batch, versions = self._last
        if known != key or versions != _versions(batch):
            with untouched_streams():
                items = self._seeded_items(rows, seed, epoch)
                self._check_targets(items, rows)
                seed_streams(mixed(seed, int(rows[0]), epoch))  # a collate_fn may draw as well
                batch = self._collated(items)
            self._last = key, batch, _versions(batch)
        return batch

    def items(self, rows, seed=0, epoch=0):
        """The items of some rows."""
        with untouched_streams():
            return self._seeded_items(rows, seed, epoch)

    def check_length(self):
        """Raise a ValueError for a Dataset that has more or fewer items than at the start."""
        if len(self.dataset) != self.n_items:
            raise ValueError(
                f"X as a Dataset ({type(self.dataset).__name__}) has {len(self.dataset)} items now "
                f"and had {self.n_items} before: its length must not change while it is read. "
                "Fix it, for example by torch.utils.data.Subset(dataset, range(n))."
            )

    def keep(self, rows, seed, epoch, batch, draws):
        """Take a batch that another process has read as the last one."""
        self.draws = self.draws or draws
        self._last = (rows.tobytes(), seed, epoch), batch, _versions(batch)

    def __getstate__(self):
        return {**vars(self), "_last": (None, None, ())}

    def _seeded_items(self, rows, seed, epoch):
        """The items, read together unless reading them draws: then each from a seed of its own."""
        if not self.draws:
            start = mixed(seed, int(rows[0]), epoch)
            seed_streams(start)
            unmoved = next_numbers()
            seed_streams(start)
            items = self._items(rows)
            if next_numbers() == unmoved:
                return items
            self.draws = True
        return [self._seeded_item(row, seed, epoch) for row in rows.tolist()]

    def _seeded_item(self, row, seed, epoch):
        seed_streams(mixed(seed, row, epoch))
        return self._items(np.array([row]))[0]

    def _items(self, rows):
        self.check_length()
        positions = rows.tolist()
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(positions)
        return [self._item(position) for position in positions]

    def _item(self, position):
        try:
            return self.dataset[position]
        except Exception as error:
            kind = type(self.dataset).__name__
            error.add_note(f"Raised by item {position} of {len(self.dataset)} of X ({kind}).")
            raise

    def _check_targets(self, items, rows):
        """Raise a ValueError for an item with another target than was read at the start."""
        if self.targets is None:
            return
        found = [plain(inputs_and_target(item)[1]) for item in items]
        expected = self.targets[rows]
        if np.array_equal(np.asarray(found), expected):
            return
        for row, target, known in zip(rows.tolist(), found, map(plain, expected), strict=True):
            if not np.array_equal(target, known):
                raise ValueError(
                    f"item {row} of X as a Dataset has the target {target!r:.60}, which was "
                    f"{known!r:.60} before. It is drawn at random, as by mixup, or an attribute "
                    "of the Dataset holds other targets. Give each row one target, or pass y, "
                    "which replaces the targets of the items."
                )

    def _collated(self, items):
        has_target = inputs_and_target(items[0])[1] is not None
        if self.collate_fn is None:
            inputs, targets = zip(*map(inputs_and_target, items), strict=True)
            return collated(inputs), targets if has_target else None
        batch = self.collate_fn(items)
        inputs, targets = inputs_and_target(batch) if has_target else (batch, None)
        return as_batch(inputs), targets


def _versions(batch):
    """Version numbers of a batch's inputs, which torch raises when a module writes into one."""
    return () if batch is None else [tensor._version for tensor in tensors_in(batch[0])]
