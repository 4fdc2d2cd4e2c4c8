import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from sam_attribution.validation_data import ValidationData

X = np.arange(6.0).reshape(3, 2)
y = np.array(["a", "b", "a"])


def test_holds_read_only_copies():
    data_X, data_y = X.copy(), y.copy()
    held_out = ValidationData(data_X, data_y)
    data_X[0, 0], data_y[0] = 99.0, "b"

    np.testing.assert_array_equal(held_out.X, X)
    np.testing.assert_array_equal(held_out.y, y)
    for array in (held_out.X, held_out.y):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_is_immutable():
    held_out = ValidationData(X, y)
    with pytest.raises(AttributeError, match="immutable"):
        held_out.X = X
    with pytest.raises(AttributeError, match="immutable"):
        del held_out._X


def test_clone_returns_the_object_itself():
    held_out = ValidationData(X, y)
    assert clone(held_out, safe=False) is held_out


def test_equal_content_is_equal_and_hashes_alike():
    held_out = ValidationData(X, y)
    twin = ValidationData(np.asfortranarray(X), list(y))
    assert held_out == twin
    assert hash(held_out) == hash(twin)
    assert pickle.loads(pickle.dumps(held_out)) == held_out


@pytest.mark.parametrize("other", [(X + 1, y), (X, np.array(["b", "b", "a"])), (X[:2], y[:2])])
def test_other_content_differs(other):
    assert ValidationData(X, y) != ValidationData(*other)


def test_a_frame_stays_a_frame():
    frame = pd.DataFrame(X, columns=["left", "right"])
    held_out = ValidationData(frame, y)
    copy = held_out.X
    copy["left"] = 99.0
    pd.testing.assert_frame_equal(held_out.X, frame)


def test_sparse_rows_are_frozen():
    held_out = ValidationData(csr_array(X), y)
    np.testing.assert_array_equal(held_out.X.toarray(), X)
    with pytest.raises(ValueError, match="read-only"):
        held_out.X.data[0] = 9


def test_images_keep_their_shape():
    held_out = ValidationData(np.zeros((3, 1, 4, 4)), y)
    assert len(held_out) == 3
    assert repr(held_out) == "ValidationData(X of shape (3, 1, 4, 4), y of shape (3,))"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((np.empty((0, 2)), []), "X of ValidationData must have at least one row"),
        ((X, y[:2]), "same number of rows, got 3 and 2"),
        ((X, np.float64(1)), "y of ValidationData must hold a target for each row, got one value"),
    ],
)
def test_bad_input_names_the_argument(bad, message):
    with pytest.raises(ValueError, match=message):
        ValidationData(*bad)
