"""Columns, numbers and masks are checked alike wherever they come in."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import eye_array

from sam_attribution._validation import check_column, check_mask, check_numbers

COLUMNS = {
    "list": [0, 1, 1],
    "array": np.array([0, 1, 1]),
    "tensor": torch.tensor([0, 1, 1]),
    "Series": pd.Series([0, 1, 1], index=[5, 3, 4]),
    "nullable integers": pd.Series([0, 1, 1], dtype="Int64"),
    "one column": np.array([[0], [1], [1]]),
    "DataFrame": pd.DataFrame({"a": [0, 1, 1]}),
}


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_whatever_holds_a_column_is_taken(values):
    column = check_column(values, "given", 3)
    assert (column.dtype.kind, column.tolist()) == ("i", [0, 1, 1])
    numbers = check_column(values, "scores", 3, dtype="float64")
    assert (numbers.dtype, numbers.tolist()) == (np.float64, [0.0, 1.0, 1.0])
    mask = check_mask(values, "wrong", 3)
    assert (mask.dtype, mask.tolist()) == (bool, [False, True, True])


def test_the_rules_for_numbers_that_are_not_finite():
    for finite, refused in ((True, [np.nan, np.inf]), ("allow-nan", [np.inf]), (False, [])):
        for value in (np.nan, np.inf):
            if value in refused:
                with pytest.raises(ValueError, match="Input scores contains"):
                    check_numbers([1.0, value], "scores", finite=finite)
            else:
                found = check_numbers([1.0, value], "scores", finite=finite)
                np.testing.assert_array_equal(found, [1.0, value])


def test_a_mask_has_any_shape_where_no_number_of_rows_is_known():
    np.testing.assert_array_equal(check_mask(np.eye(2), "left_out"), np.eye(2, dtype=bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_column(1.0, "given"), r"given should be a 1d array, .* shape \(\) instead"),
        (lambda: check_column(np.eye(2), "given"), r"given should be a 1d array, .* \(2, 2\)"),
        (lambda: check_column(eye_array(3), "given"), r"given should be a 1d array, .* \(3, 3\)"),
        (lambda: check_column([1, 2], "given", 3), "given must hold one value .* 3 rows, got 2"),
        (lambda: check_column(["a"], "scores", dtype="float64"), "could not convert string"),
        (lambda: check_column([10**400], "scores", dtype="float64"), "scores holds an integer"),
        (lambda: check_numbers([1], "fits", n_axes=(2, 3)), r"fits should be a 2d or 3d array, .*"),
        (lambda: check_mask([2, 5], "wrong", 2), r"True and False only, got \[2, 5\]. Turn row nu"),
        (lambda: check_mask(["a", "b"], "wrong"), r"wrong must hold .* only, got \['a', 'b'\]"),
        (lambda: check_mask([1.0, np.nan], "wrong"), r"wrong must hold .* only, got \[nan\]"),
        (
            lambda: check_mask(pd.array([True, None, False], dtype="boolean"), "wrong", 3),
            r"wrong must hold .* only, got \[<NA>\]",
        ),
        (lambda: check_mask([0, 1], "wrong", 3), "wrong must hold one value .* 3 rows, got 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tensors_that_numpy_does_not_know():
    half = torch.tensor([0.5, 1.5, 2.0], dtype=torch.bfloat16)
    assert check_numbers(half, "scores").tolist() == [0.5, 1.5, 2.0]
    nested = torch.nested.nested_tensor([torch.zeros(1), torch.zeros(1)], layout=torch.jagged)
    for strange in (half.to("meta"), nested):
        with pytest.raises(
            TypeError, match=r"scores must be an ordinary tensor, got (one|a nested)"
        ):
            check_numbers(strange, "scores")
