"""How results with long arrays print: a line for each field, within 80 columns."""

from dataclasses import fields
from textwrap import shorten

import numpy as np
import torch

_WIDTH = 80


def summary(result):
    """The name of a dataclass and a line for each of its fields; arrays by shape and range.

    To be its ``__repr__``.
    """
    names = [field.name for field in fields(result)]
    indent = max(map(len, names)) + 4
    lines = [
        f"  {name}".ljust(indent) + described(getattr(result, name), _WIDTH - indent)
        for name in names
    ]
    return "\n".join([type(result).__name__, *lines])


def described(value, width):
    """A value in at most `width` characters."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return _array(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return shorten(repr(value), width, placeholder=" ...")


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
