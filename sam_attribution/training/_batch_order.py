"""Batch order as data: the rows of every training step."""

import numpy as np
from torch.utils.data import Sampler


def batch_schedule(n_samples, batch_size, epoch, seed, *, shuffle=True, drop_last=False):
    """Row indices of every batch of one epoch (from 0), in training order.

    `seed` and `epoch` fix the order; without `shuffle` it is that of the data. Batches have at
    most `batch_size` rows (``-1``: all) and differ by one row at most, so no epoch ends on a nearly
    empty one. With `drop_last` they have exactly `batch_size` rows, and the remaining rows are not
    used in this epoch.
    """
    if batch_size == -1 or batch_size >= n_samples:
        batch_size = n_samples
    order = np.arange(n_samples)
    if shuffle:
        order = np.random.default_rng([seed, epoch]).permutation(n_samples)
    if drop_last:
        return list(order[: n_samples - n_samples % batch_size].reshape(-1, batch_size))
    return np.array_split(order, -(-n_samples // batch_size))


class ScheduledBatches(Sampler):
    """Batch sampler that follows :func:`batch_schedule` from `epoch` on, with its `settings`.

    Each iteration is one epoch and moves to the next.
    """

    def __init__(self, epoch, **settings):
        self.epoch = epoch
        self.settings = settings

    def _batches(self):
        return batch_schedule(epoch=self.epoch, **self.settings)

    def __len__(self):
        return len(self._batches())

    def __iter__(self):
        # a generator: a loader with workers asks for two iterators and uses the second
        batches = self._batches()
        self.epoch += 1
        # lists, as of torch's own samplers: accelerate adds them up
        yield from (batch.tolist() for batch in batches)
