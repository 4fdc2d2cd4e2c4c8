"""Images as uint8 pixels of one shape, and how they became that."""

import numpy as np

from sam_attribution.review._codec import packed_sheets

LARGEST = 96  # pixels of a side in the list; larger images are drawn smaller
LARGEST_ENLARGED = 1024
MOST_ENLARGED = 64_000_000  # characters of a page that hold enlarged images


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


def shrunk(pixels, largest):
    """Return the mean over squares of pixels, so that no side is longer than `largest`."""
    factor = -(-max(pixels.shape[1:3]) // largest)
    if factor == 1:
        return pixels
    height, width = (-(-side // factor) * factor for side in pixels.shape[1:3])
    missing = (height - pixels.shape[1], width - pixels.shape[2])
    padded = np.pad(pixels, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    squares = padded.reshape(
        len(pixels), height // factor, factor, width // factor, factor, pixels.shape[3]
    )
    return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)


def enlarged(pixels):
    """Return images one by one, packed, as many as a page holds, and their height and width."""
    packed, shape, n_bytes = [], (0, 0), 0
    for k in range(len(pixels)):
        image = shrunk(pixels[k : k + 1], LARGEST_ENLARGED)
        packed += packed_sheets(image)[0]
        shape, n_bytes = image.shape[1:3], n_bytes + len(packed[-1])
        if n_bytes >= MOST_ENLARGED:
            break
    return packed, shape


def size_note(n_enlarged, n):
    """Return a sentence on the sizes of images that are larger than they are drawn in a list."""
    which = "" if n_enlarged == n else f", for the first {n_enlarged:,} rows"
    return (
        f"Images have at most {LARGEST} x {LARGEST} pixels here; a click shows one in up to "
        f"{LARGEST_ENLARGED} x {LARGEST_ENLARGED}{which}."
    )
