"""Images as uint8 pixels, and how they became that."""

import numpy as np

LARGEST = 96  # pixels of a side; larger images are drawn smaller


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
