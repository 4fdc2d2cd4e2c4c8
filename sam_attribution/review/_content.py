"""Content of a row on the page: an image, the columns of a table, or a text."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from sam_attribution._as_arrays import from_tensor
from sam_attribution._image_shape import images_of
from sam_attribution._row_source import RowSource
from sam_attribution._validation import take_rows
from sam_attribution.review._codec import packed_sheets
from sam_attribution.review._images import LARGEST, enlarged, pixels_of, shrunk, size_note
from sam_attribution.review._page_data import packed
from sam_attribution.review._pictures import pictures_in, thumbnails
from sam_attribution.review._table_content import table_settings

_LONGEST = 2000  # characters of a text


@dataclass(frozen=True)
class Content:
    """For the page: what `kind` needs to draw rows, a note to read, and packed images.

    `sheets` hold the images of the list, several each; `large` hold one each, to enlarge.
    """

    settings: dict
    note: str = ""
    sheets: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)


def content_of(X, rows, image_shape, columns):
    """Return the :class:`Content` of the rows at `rows`, in their order."""
    content = _content_of(X, rows, image_shape, columns)
    if columns is not None and content.settings["kind"] != "table":
        raise ValueError(
            f"columns must be left out, got {columns!r}: X holds {content.settings['kind']}s and "
            "no table."
        )
    return content


def _content_of(X, rows, image_shape, columns):
    X = from_tensor(X, "X")
    shown = take_rows(X, rows)
    pictures = pictures_in(shown)
    if pictures is not None:
        return _pictures(pictures)
    if isinstance(shown, RowSource):
        shown = _read(shown)
    elif issparse(shown):
        shown = shown.toarray()
    elif _is_text(shown):
        return _texts(shown)
    if image_shape is not None or np.ndim(shown) in (3, 4):
        return _images(images_of(shown, image_shape))
    if isinstance(X, RowSource) or issparse(X):  # all of their rows may not fit into memory
        X, rows = shown, np.arange(len(shown))
    return Content(*table_settings(X if isinstance(X, pd.DataFrame) else _frame(X), rows, columns))


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
    pixels, note = pixels_of(images)
    size = pixels.shape[2], pixels.shape[1]
    if max(size) <= LARGEST:
        return _in_sheets(pixels, note, size)
    large, (height, width) = enlarged(pixels)
    note = f"{note} {size_note(len(large), len(pixels))}"
    how = {"height": int(height), "width": int(width)}
    return _in_sheets(shrunk(pixels, LARGEST), note, size, large, how)


def _pictures(pictures):
    pixels, large, sizes = thumbnails(pictures)
    if not any(large):
        return _in_sheets(pixels, "", sizes)
    return _in_sheets(pixels, size_note(len(large), len(pixels)), sizes, large)


def _in_sheets(pixels, note, sizes, large=(), packed_shape=None):
    """Content of images; the large ones are packed pixels of a shape, or files of None.

    `sizes` holds the width and height as the images came, of all of them or of each.
    """
    sheets, per_sheet = packed_sheets(pixels)
    shape = dict(zip(("height", "width", "channels"), pixels.shape[1:], strict=True))
    of_large = {
        "sizes": packed(np.asarray(sizes), "<i4"),
        "n_large": len(large),
        "large_shape": packed_shape,
    }
    settings = {"kind": "image", "per_sheet": per_sheet, **shape, **of_large}
    return Content(settings, note, sheets, list(large))


def _frame(X):
    X = np.asarray(X)
    if X.ndim > 2:
        raise ValueError(
            f"X must hold images, rows of a table or texts, got an array of shape {X.shape}. "
            "Say what a row is with image_shape, or pass texts as X."
        )
    return pd.DataFrame(X)
