"""How results with long arrays print: a line for each field, within 80 columns."""

from dataclasses import MISSING, fields, is_dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch

WIDTH = 80
_ENTRIES = 4  # of a tuple of arrays


def summary(result) -> str:
    """The name of a dataclass or named tuple, and a line for each of its fields.

    Arrays are described by shape and range. A field that is None by default is left out while it
    is None. To be the ``__repr__`` of its class.
    """
    return summary_of(type(result).__name__, _entries(result))


def summary_of(name, entries):
    """A name, and a line for each entry of a dict."""
    indent = max(map(len, entries), default=0) + 4
    lines = [
        f"  {entry}".ljust(indent) + described(value, WIDTH - indent)
        for entry, value in entries.items()
    ]
    return "\n".join([name.lstrip("_"), *lines])


def summary_html(result):
    """The same as a table of a notebook. To be the ``_repr_html_`` of a class."""
    texts = {name: described(value, 2 * WIDTH) for name, value in _entries(result).items()}
    return table_html(type(result).__name__, texts)


def table_html(name, texts):
    """A name, and a table with a row for each text of a dict, as HTML."""
    with pd.option_context("display.max_colwidth", None):
        table = pd.Series(texts, dtype=object).to_frame().to_html(header=False)
    return f"<strong>{name}</strong>\n{table}"


def described(value, width=WIDTH):
    """A value in at most `width` characters."""
    text = " ".join(_text(value).split())
    return text if len(text) <= width else f"{text[: width - 4].rstrip()} ..."


def _entries(result):
    """Fields by name, without those that are None by default and are None."""
    if is_dataclass(result):
        defaults = {field.name: field.default for field in fields(result)}
    else:
        defaults = {name: result._field_defaults.get(name, MISSING) for name in result._fields}
    values = {name: getattr(result, name) for name in defaults}
    unset = [name for name in defaults if defaults[name] is None and values[name] is None]
    return {name: value for name, value in values.items() if name not in unset}


def _text(value):
    if isinstance(value, np.ndarray | torch.Tensor):
        return _array(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, pd.DataFrame | pd.Series):
        return f"{'DataFrame' if value.ndim == 2 else 'Series'} of shape {value.shape}"
    if isinstance(value, torch.nn.Module):
        return f"{type(value).__name__}, {sum(p.numel() for p in value.parameters())} parameters"
    if isinstance(value, dict):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, tuple | list) and any(_is_array(each) for each in value):
        return _several(value)
    if hasattr(value, "__qualname__"):  # functions and classes print their address or module
        return value.__qualname__
    return type(value).__name__ if _prints_no_content(value) else repr(value)


def _is_array(value):
    return isinstance(value, np.ndarray | torch.Tensor)


def _several(arrays):
    texts = "; ".join(_text(each) for each in islice(arrays, _ENTRIES))
    return texts if len(arrays) <= _ENTRIES else f"{len(arrays)} entries: {texts}; ..."


def _prints_no_content(value):
    """True for an object that prints its address, or several lines."""
    return type(value).__repr__ in (object.__repr__, summary)


def _array(array):
    numbers = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array
    shape = f"shape {tuple(numbers.shape)}"
    if numbers.dtype.kind not in "iuf" or not numbers.size:
        return shape
    missing = int(np.isnan(numbers).sum())
    if missing == numbers.size:
        return f"{shape}, all NaN"
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return f"{shape}, {low:.4g} to {high:.4g}" + (f", {missing} NaN" if missing else "")
