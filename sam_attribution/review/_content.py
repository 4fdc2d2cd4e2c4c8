"""Content of a row on the page: an image, the columns of a table, or a text."""

from dataclasses import dataclass, field, replace
from numbers import Number

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from sam_attribution._as_arrays import from_tensor
from sam_attribution._image_shape import images_of
from sam_attribution._row_source import RowSource
from sam_attribution._validation import take_rows
from sam_attribution.review._codec import packed_sheets
from sam_attribution.review._images import LARGEST, framed, is_picture, pixels_of, shrunk

MOST_COLUMNS = 24
_LONGEST = 2000  # characters of a text


@dataclass(frozen=True)
class Content:
    """For the page: what `kind` needs to draw rows, packed sheets of images, and a note to read."""

    settings: dict
    note: str = ""
    sheets: list[str] = field(default_factory=list)


def content_of(X, rows, image_shape):
    """Return the :class:`Content` of the rows at `rows`, in their order."""
    shown = take_rows(from_tensor(X, "X"), rows)
    if isinstance(shown, RowSource):
        if is_picture(next(shown.inputs())):
            return _pictures(shown.inputs())
        shown = _read(shown)
    if issparse(shown):
        shown = shown.toarray()
    if _is_text(shown):
        return _texts(shown)
    if image_shape is not None or np.ndim(shown) in (3, 4):
        return _images(images_of(shown, image_shape))
    return _table(shown if isinstance(shown, pd.DataFrame) else _frame(shown))


def _read(source):
    """The rows of a source as an array."""
    batch = source[:]
    if not hasattr(batch, "numpy"):
        raise ValueError(
            "X must show a row by one image, table row or text, but its items have several parts. "
            "Pass images or texts that stand for the rows."
        )
    return batch.numpy()


def _is_text(X):
    return np.ndim(X) == 1 and all(isinstance(value, str) for value in X)


def _texts(X):
    texts = [str(text) for text in X]
    longest = max(map(len, texts), default=0)
    note = f"Texts are cut after {_LONGEST} characters." if longest > _LONGEST else ""
    cut = [text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …" for text in texts]
    return Content({"kind": "text", "texts": cut}, note)


def _images(images):
    pixels, drawn = pixels_of(images)
    pixels, size = shrunk(pixels)
    sheets, per_sheet = packed_sheets(pixels)
    shape = dict(zip(("height", "width", "channels"), pixels.shape[1:], strict=True))
    return Content({"kind": "image", "per_sheet": per_sheet, **shape}, drawn + size, sheets)


def _pictures(pictures):
    note = f"Pictures are drawn in at most {LARGEST} x {LARGEST} pixels."
    return replace(_images(framed(pictures)), note=note)


def _frame(X):
    X = np.asarray(X)
    if X.ndim > 2:
        raise ValueError(
            f"X must hold images, rows of a table or texts, got an array of shape {X.shape}. "
            "Say what a row is with image_shape, or pass texts as X."
        )
    return pd.DataFrame(X)


def _table(frame):
    n_columns = frame.shape[1]
    frame = frame.iloc[:, :MOST_COLUMNS]
    cells = [[_cell(value) for value in frame.iloc[:, k]] for k in range(frame.shape[1])]
    note = f"The first {MOST_COLUMNS} of {n_columns} columns." if n_columns > MOST_COLUMNS else ""
    names = [str(name) for name in frame.columns]
    return Content({"kind": "table", "columns": names, "cells": cells}, note)


def _cell(value):
    is_number = isinstance(value, Number) and not isinstance(value, bool | np.bool_ | complex)
    text = f"{value:.6g}" if is_number else str(value)
    return text if len(text) <= 200 else f"{text[:200]} …"
