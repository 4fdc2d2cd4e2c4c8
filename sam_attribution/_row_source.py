"""Rows that are read when they are needed, some at a time, instead of a tensor of all of them."""

import copy

import numpy as np
import torch


class RowSource:
    """Base of sources of rows; ``source[positions]`` reads some, as a batch.

    A batch is a tensor, a dict of tensors or a tuple of tensors. A source never changes: methods
    that set something return another one, and read nothing.

    Attributes
    ----------
    device : torch.device
        Where batches are put.
    dtype : torch.dtype or None
        Precision of floating-point numbers in batches; None leaves them as they are.
    epoch : int or None
        Epoch as in which random transforms are drawn; None for rows that are always the same.
    draws : bool
        True once rows were seen to draw random numbers when they are read.
    """

    device = torch.device("cpu")
    dtype = None
    epoch: int | None = None
    draws = False
    _casts_whole = False
    _rows = None  # those of all rows that this source has, in its order; None for all

    __iter__ = None  # rows are not read one by one

    def __repr__(self):
        return f"{type(self).__name__}({len(self)} rows)"

    def __len__(self):
        return self._n_all() if self._rows is None else len(self._rows)

    def __getitem__(self, positions):
        return self._moved(self._read(self._all_rows(positions)))

    def part(self, positions):
        """The source of some of the rows, in the order of `positions` (or of a mask)."""
        return self._with(_rows=self._all_rows(positions))

    def split(self, size):
        """Sources of at most `size` rows each, one after the other."""
        starts = range(0, len(self), size)
        return [self.part(slice(start, start + size)) for start in starts]

    def to(self, *, device=None, dtype=None, whole_numbers=False):
        """The same rows on a device, in a precision; `whole_numbers` are cast as well if True."""
        return self._with(
            device=self.device if device is None else torch.device(device),
            dtype=self.dtype if dtype is None else dtype,
            _casts_whole=self._casts_whole or whole_numbers,
        )

    def to_dtype(self, dtype):
        """The same rows in another precision."""
        return self.to(dtype=dtype)

    def seeded(self, seed):
        """The same rows; random transforms of a Dataset are drawn from `seed`."""
        return self

    def at_epoch(self, epoch):
        """The same rows as training reads them in an epoch, counted from 0."""
        return self

    def passes(self, parts):
        """`parts` (positions) one after the other; a source may read ahead while they are used."""
        return parts

    def content(self):
        """Plain data that is equal for equal rows, for a fingerprint."""
        raise NotImplementedError

    def given(self):
        """The rows as a user passes them."""
        raise NotImplementedError

    def _n_all(self):
        raise NotImplementedError

    def _read(self, rows):
        """The batch of some of all rows, on the CPU."""
        raise NotImplementedError

    def _with(self, **changes):
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def _all_rows(self, positions):
        """Positions among all rows, ndarray of int64."""
        rows = np.arange(self._n_all()) if self._rows is None else self._rows
        if isinstance(positions, torch.Tensor):
            positions = positions.cpu().numpy()
        positions = positions if isinstance(positions, slice) else np.asarray(positions)
        return rows[positions]

    def _moved(self, batch):
        return each_tensor(self._moved_tensor, batch)

    def _moved_tensor(self, tensor):
        casts = self.dtype is not None and (tensor.is_floating_point() or self._casts_whole)
        return tensor.to(self.device, self.dtype if casts else None)


def each_tensor(function, batch):
    """A batch whose tensors are those of `batch` after a function."""
    if isinstance(batch, dict):
        return {name: function(tensor) for name, tensor in batch.items()}
    if isinstance(batch, tuple):
        return tuple(map(function, batch))
    return function(batch)
