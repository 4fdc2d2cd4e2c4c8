"""The count sketch against its dense matrix, and against what it promises on average."""

import pytest
import torch

from sam_attribution.linalg import CountSketch
from tests.sketch import dense_sketch


@pytest.mark.parametrize("proj_dim", [1, 7, 40])
def test_both_ways_are_the_dense_matrix(proj_dim):
    vectors = torch.randn(3, 20, dtype=torch.float64)
    sketch = CountSketch(vectors[0], proj_dim, torch.Generator().manual_seed(1))
    S = dense_sketch(20, proj_dim, torch.Generator().manual_seed(1))
    torch.testing.assert_close(sketch.project(vectors), vectors @ S)
    back = torch.randn(2, proj_dim, dtype=torch.float64)
    torch.testing.assert_close(sketch.expand(back), back @ S.T)


def test_products_are_right_on_average_with_the_spread_promised():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    sketches = [CountSketch(a, 16, generator) for _ in range(4000)]
    products = torch.stack(
        [torch.prod(each.project(torch.stack([a, b])), 0).sum() for each in sketches]
    )
    spread = float(((a @ a) * (b @ b) + (a @ b) ** 2) / 16) ** 0.5
    assert abs(products.mean() - a @ b) < 4 * spread / 4000**0.5
    assert products.std() < 1.05 * spread
