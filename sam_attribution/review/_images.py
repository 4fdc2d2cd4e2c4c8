"""Images as uint8 pixels, and how they became that."""

import numpy as np

LARGEST = 96  # pixels of a side; larger images are drawn smaller
_CHANNELS = (1, 3, 4)


def images_of(X, image_shape):
    """Return `X` as an array of shape (n, height, width, channels)."""
    X = np.asarray(X)
    if image_shape is not None:
        X = _reshaped(X, tuple(image_shape))
    if X.ndim == 3:
        return X[..., None]
    if X.ndim == 4 and X.shape[1] in _CHANNELS:
        return X.transpose(0, 2, 3, 1)
    if X.ndim == 4 and X.shape[-1] in _CHANNELS:
        return X
    raise ValueError(
        "X must hold images of shape (n, height, width), (n, channels, height, width) or (n, "
        f"height, width, channels) with 1, 3 or 4 channels, got {X.shape}. Flat rows need "
        "image_shape."
    )


def _reshaped(X, image_shape):
    if X[:1].size != np.prod(image_shape):
        raise ValueError(
            f"image_shape must fit the {X[:1].size} values of a row, got {image_shape}, which "
            f"has {np.prod(image_shape)}."
        )
    return X.reshape(len(X), *image_shape)


def pixels_of(images):
    """Return uint8 pixels of the same shape, and a sentence on how the values are drawn."""
    if images.dtype.kind not in "biuf":
        raise TypeError(f"images must hold numbers, got dtype {images.dtype}.")
    if images.dtype == np.uint8:
        return images, "Pixels as they are."
    values = images.astype(np.float32)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    note = f"Pixels: {low:.4g} is drawn black, {high:.4g} white."
    if not finite.all():
        values, note = np.where(finite, values, low), f"{note} Not finite ones are black."
    scaled = (values - low) / max(high - low, np.finfo(np.float32).tiny)
    return np.rint(255 * scaled).astype(np.uint8), note


def shrunk(pixels):
    """Return the mean over squares of pixels, so that no side is longer than ``LARGEST``."""
    factor = -(-max(pixels.shape[1:3]) // LARGEST)
    if factor == 1:
        return pixels, ""
    height, width = (-(-side // factor) * factor for side in pixels.shape[1:3])
    missing = (height - pixels.shape[1], width - pixels.shape[2])
    padded = np.pad(pixels, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    squares = padded.reshape(
        len(pixels), height // factor, factor, width // factor, factor, pixels.shape[3]
    )
    note = f" Images are shown at 1/{factor} of their size."
    return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8), note
