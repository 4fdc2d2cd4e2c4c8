"""Rows of arrays that are converted batch by batch; the arrays are never copied as a whole."""

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from sam_attribution._as_arrays import without_nullable
from sam_attribution._fingerprint import fingerprint
from sam_attribution._row_source import RowSource
from sam_attribution._rows._batches import names_of
from sam_attribution._validation import take_rows

_BYTES = 2**26  # of a memory map that are looked at together


class ArrayRows(RowSource):
    """Rows of an array, memory map, sparse matrix, table or tensor, or of a dict or tuple of these.

    Batches have the same structure, with dense tensors. The arrays must have one length.
    """

    def __init__(self, X):
        self.arrays = _each(_indexable, X)

    @property
    def first_array(self):
        """The only array, or the first of several."""
        return next(iter(_all_in(self.arrays)))

    @property
    def row_names(self):
        """Names of the inputs of a row, or their number."""
        return names_of(self.arrays)

    @property
    def row_shape(self):
        """Shape of a row; a dict or tuple of shapes."""
        return _each(lambda array: tuple(array.shape[1:]), self.arrays)

    def content(self):
        rows = self._rows
        return _each(lambda array: _content(array, rows), self.arrays)

    def given(self):
        if self._rows is None:
            return self.arrays
        return _each(lambda array: take_rows(array, self._rows), self.arrays)

    def frozen(self, freeze):
        """The same rows in arrays that were copied by `freeze`; memory maps are not copied."""
        return self._with(arrays=_each(lambda array: _copied(array, freeze), self.arrays))

    def check_is_finite(self, name):
        """Raise a ValueError for NaN or infinity, of which `name` tells where; reads all rows."""
        _each(lambda array: _check_is_finite(array, name), self.arrays)

    def _n_all(self):
        return self.first_array.shape[0]

    def _read(self, rows):
        return _each(lambda array: _tensor(array, rows), self.arrays)


def _each(function, X):
    if isinstance(X, dict):
        return {name: function(array) for name, array in X.items()}
    return tuple(map(function, X)) if isinstance(X, tuple) else function(X)


def _all_in(X):
    if isinstance(X, dict):
        return [*X.values()]
    return [*X] if isinstance(X, tuple) else [X]


def _indexable(array):
    """An array that can be indexed by rows: a memory map stays one."""
    if issparse(array):
        return array.tocsr()
    if isinstance(array, torch.Tensor):
        return array.detach().clone() if array.is_inference() else array.detach()
    if isinstance(array, np.ndarray):
        return array
    if isinstance(array, pd.DataFrame):
        return without_nullable(array).to_numpy()
    return np.asarray(array)


def _copied(array, freeze):
    if isinstance(array, np.memmap):
        return array
    return array.clone() if isinstance(array, torch.Tensor) else freeze(array)


def _tensor(array, rows):
    """Dense tensor of some rows."""
    if isinstance(array, torch.Tensor):
        return array[torch.from_numpy(rows).to(array.device)]
    taken = array[rows]
    taken = taken.toarray() if issparse(taken) else np.asarray(taken)
    # into memory of torch, which is aligned: kernels round by the alignment of what they read
    return torch.tensor(taken.astype(taken.dtype.newbyteorder("="), copy=False))


def _content(array, rows):
    """The rows of an array, or a hash of each stretch of them if they are on disk."""
    if isinstance(array, np.memmap):
        parts = (_stretch(array, rows, part) for part in _stretches(array, rows))
        return str(array.dtype), array.shape[1:], [fingerprint(part) for part in parts]
    return array if rows is None else take_rows(array, rows)


def _check_is_finite(array, name):
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        parts = (_stretch(array, None, part) for part in _stretches(array, None))
        finite = all(np.isfinite(part).all() for part in parts)
    elif issparse(array):
        finite = array.dtype.kind != "f" or np.isfinite(array.data).all()
    else:
        finite = not torch.is_tensor(array) or bool(torch.isfinite(array).all())
    if not finite:
        raise ValueError(f"Input {name} contains NaN or infinity.")


def _stretches(array, rows):
    n_rows = len(array) if rows is None else len(rows)
    per_row = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _BYTES // per_row)
    return [slice(start, start + step) for start in range(0, n_rows, step)]


def _stretch(array, rows, part):
    """Some rows of an array on disk, in memory while they are used."""
    return np.asarray(array[part] if rows is None else array[rows[part]])
