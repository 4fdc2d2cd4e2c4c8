"""Weights of rows in a likelihood: closed forms."""

import numpy as np
import pytest

from sam_attribution.detection._effective_weights import effective_weights


def test_their_sum_is_the_effective_number_of_rows():
    found = effective_weights([1, 2, 3])
    assert found.sum() == pytest.approx(6**2 / 14)
    np.testing.assert_allclose(found / found[0], [1, 2, 3])


def test_one_heavy_row_is_one_row():
    assert effective_weights(np.r_[1e12, np.ones(99)]).sum() == pytest.approx(1)


@pytest.mark.parametrize("unit", [1e-310, 1e-30, 1, 1e308])
def test_the_unit_does_not_matter(unit):
    np.testing.assert_allclose(effective_weights(np.full(9, unit)), 1)
