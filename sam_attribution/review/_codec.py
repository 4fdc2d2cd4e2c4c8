"""Pixels packed for the page, where ``sheets.js`` unpacks them without loss.

A PNG file of 32 x 32 photographs is a third larger: it neither takes green out of red and blue nor
stores the colours apart.
"""

import base64
import zlib

import numpy as np

SHEET_BYTES = 2**18  # of pixels; a browser unpacks them within one frame


def packed_sheets(pixels):
    """Images in groups, each deflated and in base64, and how many a group holds.

    `pixels` are uint8 of shape (n, height, width, channels), of 1, 3 or 4 channels.
    """
    per_sheet = max(1, SHEET_BYTES // pixels[0].size)
    groups = (pixels[start : start + per_sheet] for start in range(0, len(pixels), per_sheet))
    return [base64.b64encode(_deflated(residuals(group))).decode() for group in groups], per_sheet


def residuals(pixels):
    """Errors of a guess from the left, upper and upper left pixel, (n, channels, h, w)."""
    planes = _without_green(pixels).transpose(0, 3, 1, 2).astype(np.int16)
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 0), (1, 0)))
    left, above, corner = padded[..., 1:, :-1], padded[..., :-1, 1:], padded[..., :-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    guess = np.clip(left + above - corner, low, high)
    guess[..., 0, :], guess[..., :, 0] = left[..., 0, :], above[..., :, 0]
    return (planes - guess).astype(np.uint8)


def _without_green(pixels):
    """Red and blue less green, modulo 256: most of what the colours share."""
    if pixels.shape[-1] == 1:
        return pixels
    pixels = pixels.copy()
    pixels[..., [0, 2]] -= pixels[..., [1]]
    return pixels


def _deflated(values):
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    return compressor.compress(np.ascontiguousarray(values).tobytes()) + compressor.flush()
