import pytest
import torch

from sam_attribution.problem import PathPoint
from tests.models import fitted_problem


def point_of(problem, rate, rho=0.3):
    rows = torch.tensor([4, 2, 9])
    return PathPoint(problem.params, problem.buffers, rows, rate, rho, (0, 1))


def test_rows_are_taken_at_the_state_or_where_sam_took_the_gradient_of_the_batch():
    problem = fitted_problem("mlp")
    point = point_of(problem, 0.1)
    assert point.row_params(problem, "w") is point.params
    gradient = problem.mean_gradient(problem.params, problem.buffers, point.rows)
    expected = problem.params + 0.3 * gradient / gradient.norm()
    torch.testing.assert_close(point.row_params(problem, "w+eps"), expected)
    assert not torch.allclose(expected, problem.params)
    with pytest.raises(ValueError, match="at must be"):
        point.row_params(problem, "eps")


def test_a_rate_of_one_number_stays_a_number_and_others_scale_the_directions():
    problem = fitted_problem("mlp")
    size = problem.layout.size
    columns = torch.randn(size, 2, dtype=torch.float64)
    directions, rate = point_of(problem, 0.25).scaled(columns)
    assert directions is columns  # probes that share directions are read by one product
    assert rate == 0.25
    rates = torch.rand(size, dtype=torch.float64)
    directions, rate = point_of(problem, rates).scaled(columns)
    torch.testing.assert_close(directions, torch.diag(rates) @ columns)
    assert rate == 1.0
