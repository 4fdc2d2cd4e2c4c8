"""Conversion of rows to images of one layout."""

import numpy as np

_CHANNELS = (1, 3, 4)


def images_of(X, image_shape=None, name="X"):
    """Array of shape (n, height, width, channels).

    Rows have shape (h, w), (h, w, c) or (c, h, w), or are reshaped to `image_shape`. If both the
    first and the last axis could be channels, the first is taken, as in torch, unless the last
    has length 1.
    """
    X = np.asarray(X)
    if image_shape is not None:
        X = _reshaped(X, tuple(image_shape), name)
    if X.ndim == 3:
        return X[..., np.newaxis]
    if X.ndim == 4 and X.shape[1] in _CHANNELS and (X.shape[1] == 1 or X.shape[3] != 1):
        return np.moveaxis(X, 1, -1)
    if X.ndim == 4 and X.shape[3] in _CHANNELS:
        return X
    raise ValueError(
        f"{name} must hold images of shape (h, w), (h, w, c) or (c, h, w) with c = 1, 3 or 4, got "
        f"rows of shape {X.shape[1:]}. Flat rows need image_shape, such as (h, w)."
    )


def _reshaped(X, image_shape, name):
    n_values = X[:1].size
    if n_values != np.prod(image_shape):
        raise ValueError(
            f"image_shape must fit the {n_values} values of a row of {name}, got {image_shape}, "
            f"which has {np.prod(image_shape)}."
        )
    return X.reshape(len(X), *image_shape)
