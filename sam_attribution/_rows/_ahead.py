"""Batches of a pass read ahead, in other processes."""

import torch
from torch.utils.data import DataLoader


def read_ahead(reading, jobs, num_workers):
    """An :class:`Ahead` of the batches for `jobs`, triples of rows, seed and epoch."""
    return Ahead(jobs, DataLoader(
        _Jobs(reading),
        sampler=jobs,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_is,
        # a generator of its own: DataLoader would draw a base seed from the global stream
        generator=torch.Generator(),
    ))  # fmt: skip


class Ahead:
    """Batches that come in the order of the jobs; one that is asked for out of turn is not here."""

    def __init__(self, jobs, loader):
        self._keys = [_key(job) for job in jobs]
        self._batches = iter(loader)
        self._done = 0

    def bring(self, reading, job):
        """Make the batch of a job the last one of a :class:`Reading`, if it is still to come."""
        key = _key(job)
        if self._batches is None or key not in self._keys[self._done :]:
            return
        while True:
            batch, arrived = next(self._batches), self._keys[self._done]
            self._done += 1
            if arrived == key:
                reading.keep(*job, *batch)
                return

    def close(self):
        """End the processes."""
        self._batches = None


class _Jobs(torch.utils.data.Dataset):
    """Reads a job where it is asked for one, in a process of a DataLoader."""

    def __init__(self, reading):
        self._reading = reading

    def __getitem__(self, job):
        return self._reading.batch(*job), self._reading.draws


def _key(job):
    rows, seed, epoch = job
    return rows.tobytes(), seed, epoch


def _as_is(batch):
    return batch
