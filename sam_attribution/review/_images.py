"""Images as uint8 pixels of one shape, and how they became that."""

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


def is_picture(value):
    """True for an image of PIL, as torchvision reads it from a file."""
    return hasattr(value, "thumbnail") and hasattr(value, "convert")


def framed(pictures):
    """Return uint8 pixels of pictures of any size, each shrunk if it is large, amid white."""
    small = [np.asarray(_small(picture)) for picture in pictures]
    height, width = np.max([pixels.shape[:2] for pixels in small], axis=0)
    frames = np.full((len(small), height, width, 3), 255, np.uint8)
    for frame, pixels in zip(frames, small, strict=True):
        top, left = (height - pixels.shape[0]) // 2, (width - pixels.shape[1]) // 2
        frame[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return frames


def _small(picture):
    if picture.mode[0] in "IF":  # PIL would cut off all that is brighter than 255
        raise ValueError(
            f"X must hold pictures of 8 bits per channel to show them, got mode {picture.mode!r}. "
            "Convert them in the Dataset, or pass an array of numbers."
        )
    small = picture.convert("RGB")
    small.thumbnail((LARGEST, LARGEST))
    return small
