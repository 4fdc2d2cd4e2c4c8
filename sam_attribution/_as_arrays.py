"""Data of the user as arrays: tensors, and columns of pandas, keep their type and value."""

import numpy as np
import pandas as pd
import torch
from pandas.api.extensions import ExtensionDtype


def from_tensor(data, name):
    """Array with the content of a torch tensor on any device; other data in native byte order."""
    refuse_odd_tensor(data, name)
    refuse_masked(data, name)
    if not hasattr(data, "detach"):
        return in_native_order(data)
    try:
        data = data.detach().cpu()
        return (data.float() if str(data.dtype) == "torch.bfloat16" else data).numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be an ordinary tensor, got one that cannot become an array: {error}"
        ) from error


def in_native_order(data):
    """Data whose numbers have the byte order of this machine, as pandas and torch need them.

    Arrays and tables of the other order, as FITS and other files hold it, are copied. A memory map
    stays one; its batches are converted when they are read.
    """
    if isinstance(data, pd.DataFrame):
        if all(map(_is_native, data.dtypes)):
            return data
        parts = [in_native_order(part) for _, part in data.items()]
        return pd.concat(parts, axis=1).set_axis(data.columns, axis=1)
    if not isinstance(data, np.ndarray | pd.Series) or isinstance(data, np.memmap):
        return data
    return data if _is_native(data.dtype) else data.astype(data.dtype.newbyteorder("="))


def values_of(data, name):
    """Array of labels or targets that keeps their type and value; a ValueError for missing ones.

    scikit-learn turns nullable integers and booleans of pandas into floats, in which integers
    above 2**53 merge. Other data than a tensor or a column of pandas are returned unchanged.
    """
    data = from_tensor(data, name)
    if isinstance(data, pd.DataFrame) and isinstance(_only_dtype(data), ExtensionDtype):
        return _array_of_column(data.iloc[:, 0], name)[:, None]
    if isinstance(getattr(data, "dtype", None), ExtensionDtype):
        return _array_of_column(data, name)
    if isinstance(data, list | tuple) or getattr(getattr(data, "dtype", None), "kind", "") == "O":
        _refuse_missing(np.flatnonzero([value is pd.NA for value in data]), name)
    return data


def without_nullable(X):
    """Dataframe whose nullable integers and booleans are those of numpy, where none is missing.

    scikit-learn turns them into floats, which a module cannot look up in an embedding. Other data
    are in native byte order.
    """
    X = in_native_order(X)
    if not isinstance(X, pd.DataFrame) or not any(map(_is_nullable_integer, X.dtypes)):
        return X
    parts = [
        part.astype(part.dtype.numpy_dtype)
        if _is_nullable_integer(part.dtype) and not part.hasnans
        else part
        for _, part in X.items()
    ]
    return pd.concat(parts, axis=1).set_axis(X.columns, axis=1)


def refuse_odd_tensor(data, name):
    """Raise a TypeError for a tensor that cannot be indexed by rows, nor become an array."""
    if not isinstance(data, torch.Tensor):
        return
    if data.is_meta:
        raise TypeError(f"{name} must be an ordinary tensor, got one without values (device meta).")
    if data.is_nested:
        raise TypeError(f"{name} must be an ordinary tensor, got a nested one. Pad its rows.")
    if data.is_quantized:
        raise TypeError(
            f"{name} must be an ordinary tensor, got a quantized one. Call dequantize()."
        )
    if data.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got a sparse one. Call to_dense().")


def refuse_masked(data, name):
    """Raise a ValueError for missing entries of a masked array; numpy would show what they hide."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise ValueError(
            f"{name} has {np.ma.count_masked(data)} masked entries. Drop these rows, or give the "
            "entries a value with filled()."
        )


PAD_ROWS = (
    "Pad them to one length, or pass a Dataset and a function that pads as "
    "iterator_train__collate_fn."
)
PAD_TARGETS = "Pad them to one length; CrossEntropyLoss leaves out targets of -100 (ignore_index)."


def refuse_ragged(data, name, advice=PAD_ROWS):
    """Raise a ValueError for rows of different lengths, such as token ids without padding."""
    is_object_array = isinstance(data, np.ndarray) and data.dtype.kind == "O" and data.ndim == 1
    if not is_object_array and not isinstance(data, list | tuple):
        return
    lengths = {_length(row) for row in data} - {None}
    if len(lengths) > 1:
        raise ValueError(
            f"{name} has rows of different lengths, {min(lengths)} to {max(lengths)}. {advice}"
        )


def refuse_repeated_columns(X, name):
    """Raise a ValueError for a table that has two columns of one name."""
    if isinstance(X, pd.DataFrame) and not X.columns.is_unique:
        twice = X.columns[X.columns.duplicated()][0]
        raise ValueError(
            f"{name} has more than one column {twice!r}. Rename or drop them, or pass "
            f"{name}.to_numpy()."
        )


def refuse_texts(data, name):
    """Raise a ValueError for rows that are texts, which no module of torch takes."""
    if not isinstance(data, list | tuple) and getattr(data, "ndim", None) != 1:
        return
    first = next(iter(data), None)
    if isinstance(first, str):
        raise ValueError(
            f"{name} holds texts, such as {first[:20]!r}, and a module takes numbers. Pass the ids "
            "that a tokenizer gives, as an array or a dict of arrays, or put a vectorizer before "
            "the net in a Pipeline."
        )


def _length(row):
    """Length of a row of several numbers; None for a text or a single number."""
    if isinstance(row, list | tuple):
        return len(row)
    return row.shape[0] if getattr(row, "ndim", 0) > 0 else None


def _is_native(dtype):
    return not isinstance(dtype, np.dtype) or dtype.isnative


def _is_nullable_integer(dtype):
    return getattr(getattr(dtype, "numpy_dtype", None), "kind", "") in tuple("biu")


def _only_dtype(frame):
    return frame.dtypes.iloc[0] if frame.shape[1] == 1 else None


def _array_of_column(column, name):
    """Array of the values of a pandas column of an extension type."""
    _refuse_missing(np.flatnonzero(pd.isna(column)), name)
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = values_of(pd.Series(dtype.categories), name)
        return np.asarray(categories)[pd.Categorical(column).codes]
    of_numpy = getattr(dtype, "numpy_dtype", None)  # of nullable types and those of Arrow
    if of_numpy is not None and of_numpy.kind in "biuf":
        return column.to_numpy(dtype=of_numpy)
    return np.asarray(column)


def _refuse_missing(rows, name):
    if len(rows):
        raise ValueError(
            f"Input {name} contains NaN: {len(rows)} missing values, the first in row {rows[0]}. "
            "Drop these rows or give them a value."
        )
