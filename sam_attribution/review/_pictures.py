"""Pictures of PIL and image files, as pixels for the list and as JPEG to enlarge."""

import base64
import io
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from sam_attribution._row_source import RowSource
from sam_attribution.review._images import LARGEST, LARGEST_ENLARGED, MOST_ENLARGED

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_QUALITY = 90


def pictures_in(X):
    """Yield the pictures that rows of `X` are, opened one by one; None if they are none."""
    if isinstance(X, RowSource):
        return X.inputs() if is_picture(next(X.inputs())) else None
    if not isinstance(X, list | tuple | np.ndarray | pd.Series) or getattr(X, "ndim", 1) != 1:
        return None
    rows = list(X)
    if rows and all(map(is_picture, rows)):
        return iter(rows)
    return map(_opened, rows) if _are_files(rows) else None


def is_picture(value):
    """True for an image of PIL, as torchvision reads it from a file."""
    return hasattr(value, "thumbnail") and hasattr(value, "convert")


def thumbnails(pictures):
    """Return pixels of pictures of any size, amid white, the larger ones as JPEG, and the sizes.

    Pixels are uint8 of shape (n, height, width, 3), sizes are (width, height). JPEGs are in
    base64; their list has "" for a picture that is small enough, and ends where all of them
    together would make the page too large.
    """
    small, large, sizes, n_bytes = [], [], [], 0
    for picture in pictures:
        picture = _in_colour(picture)
        if n_bytes < MOST_ENLARGED:
            large.append(_jpeg(picture) if max(picture.size) > LARGEST else "")
            n_bytes += len(large[-1])
        small.append(np.asarray(_within(picture, LARGEST)))
        sizes.append(picture.size)
    return _framed(small), large, sizes


def _framed(small):
    height, width = np.max([pixels.shape[:2] for pixels in small], axis=0)
    frames = np.full((len(small), height, width, 3), 255, np.uint8)
    for frame, pixels in zip(frames, small, strict=True):
        top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
        frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return frames


def _are_files(rows):
    """True for paths, and for strings that are names of image files which exist."""
    if rows and all(isinstance(row, PathLike) for row in rows):
        return True
    if not rows or not all(isinstance(row, str) and _is_named_so(row) for row in rows):
        return False
    missing = [row for row in rows if not Path(row).is_file()]
    if missing and len(missing) < len(rows):
        raise ValueError(
            f"X must hold paths of image files that exist, got {missing[0]!r}, which does not. "
            "Correct it, or pass other texts to show."
        )
    return not missing


def _is_named_so(name):
    return Path(name).suffix.lower() in _SUFFIXES


def _opened(path):
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(
            "X holds paths of images, which the page reads with Pillow. Install it with "
            "`pip install pillow`."
        ) from error
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except OSError as error:
        raise ValueError(
            f"X must hold paths of images, got {str(path)!r}, which cannot be read: {error}."
        ) from error


def _in_colour(picture):
    if picture.mode[0] in "IF":  # PIL would cut off all that is brighter than 255
        raise ValueError(
            f"X must hold pictures of 8 bits per channel to show them, got mode {picture.mode!r}. "
            "Convert them in the Dataset, or pass an array of numbers."
        )
    return picture.convert("RGB")


def _within(picture, largest):
    small = picture.copy()
    small.thumbnail((largest, largest))
    return small


def _jpeg(picture):
    file = io.BytesIO()
    _within(picture, LARGEST_ENLARGED).save(file, "JPEG", quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode()
