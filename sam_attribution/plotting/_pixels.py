"""Rows as images."""

import numpy as np

_CHANNELS = (1, 3, 4)


def as_image(row, image_shape=None, *, argument="X_train"):
    """What ``imshow`` draws: shape (h, w), or (h, w, 3 or 4) with numbers from 0 to 1 or bytes."""
    image = np.asarray(row)
    if image_shape is not None:
        image = _reshaped(image, tuple(image_shape), argument)
    if image.ndim == 3:
        if image.shape[-1] not in _CHANNELS or image.shape[0] == 1:
            image = np.moveaxis(image, 0, -1)  # torch has channels first
        image = image[..., 0] if image.shape[-1] == 1 else image
    if image.ndim != 2 and (image.ndim != 3 or image.shape[-1] not in _CHANNELS):
        raise ValueError(
            f"{argument} must hold images of shape (h, w), (h, w, c) or (c, h, w) with c = 1, 3 "
            f"or 4, got rows of shape {np.shape(row)}. For flat ones pass image_shape=(h, w)."
        )
    return image if image.ndim == 2 else _in_range(image)


def _reshaped(image, image_shape, argument):
    if image.size != np.prod(image_shape):
        raise ValueError(
            f"image_shape={image_shape} does not fit rows of {argument} with {image.size} numbers."
        )
    return image.reshape(image_shape)


def _in_range(image):
    """Colours as they are if they can be shown, from the darkest to the brightest if not."""
    if image.dtype == np.uint8 or (image.min() >= 0 and image.max() <= 1):
        return image
    image = image.astype(float)
    low, high = image.min(), image.max()
    if low >= 0 and high <= 255 and high > 1:
        return image / 255
    return (image - low) / ((high - low) or 1)
