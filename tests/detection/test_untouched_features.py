"""Numbers of rows that have several parts."""

import torch

from sam_attribution.detection._untouched_features import _numbers_in

ROWS = {
    "size": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    "kind": torch.tensor([[7], [8]]),
    "age": torch.tensor([5.0, 6.0], dtype=torch.float64),
}


def test_floating_point_parts_stand_side_by_side_and_codes_are_no_numbers():
    found = _numbers_in(ROWS)
    assert found.dtype == torch.float32
    assert found.tolist() == [[1, 2, 5], [3, 4, 6]]
    assert _numbers_in(tuple(ROWS.values())).tolist() == found.tolist()
    assert _numbers_in(ROWS["size"].view(2, 1, 2)).tolist() == [[1, 2], [3, 4]]
    assert _numbers_in({"kind": ROWS["kind"]}) is None
