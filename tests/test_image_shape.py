"""Rows become images of one shape, wherever their channels stand."""

import numpy as np
import pytest

from sam_attribution._image_shape import images_of

rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((5, 6), None),
        ((5, 6, 1), "last"),
        ((5, 6, 3), "last"),
        ((1, 5, 6), "first"),
        ((4, 5, 6), "first"),
        ((3, 5, 4), "first"),  # either could be channels: torch has them first
        ((3, 5, 1), "last"),
        ((1, 5, 1), "first"),
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_channels_come_last(shape, channels, flat):
    X = rng.random((2, *shape))
    found = images_of(X.reshape(2, -1), shape) if flat else images_of(X)
    axes = {None: lambda: X[..., None], "last": lambda: X, "first": lambda: np.moveaxis(X, 1, -1)}
    np.testing.assert_array_equal(found, axes[channels]())


@pytest.mark.parametrize(
    ("X", "image_shape", "message"),
    [
        (np.ones((2, 12)), None, r"X must hold images .* got rows of shape \(12,\). Flat rows"),
        (np.ones((2, 2, 5, 5)), None, r"X must hold images .* got rows of shape \(2, 5, 5\)"),
        (np.ones((2, 12)), (5, 2), r"must fit the 12 values of a row of X, got \(5, 2\), .* 10"),
    ],
)
def test_bad_input_is_named(X, image_shape, message):
    with pytest.raises(ValueError, match=message):
        images_of(X, image_shape)
