"""Dense factorisations: what they refuse, and what they still solve."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.exceptions import ConvergenceWarning

from sam_attribution.linalg import Arnoldi, Damped, Dense, Direct, extreme_eigenvalues

BASIS = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(0)).double())[0]


def with_least(least, dtype):
    values = torch.linspace(1, 2, 40).double()
    values[0] = least
    return Dense(((BASIS * values) @ BASIS.T).to(dtype), symmetric=True)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_a_condition_that_the_precision_bears_is_solved(dtype, least):
    operator, b = with_least(least, dtype), torch.ones(40, 1, dtype=dtype)
    exact = torch.linalg.solve(operator.matrix.double(), b.double())
    found = Direct().prepare(operator).matmat(b).x.double()
    assert (found - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize(
    ("dtype", "least", "way_on"),
    [
        (torch.float32, 5e-6, 'or train with dtype="float64"'),
        (torch.float64, 1e-14, r"has one\)\.$"),
    ],
)
def test_a_condition_that_the_precision_hardly_bears_is_solved_with_a_warning(dtype, least, way_on):
    operator, b = with_least(least, dtype), torch.ones(40, 1, dtype=dtype)
    with pytest.warns(ConvergenceWarning, match=f"nearly singular .* Raise the damping .*{way_on}"):
        inverse = Direct(tol=1.0).prepare(operator)
    matrix = operator.matrix.double().numpy()
    exact = scipy.linalg.solve(matrix, b.double().numpy(), assume_a="gen")
    assert np.linalg.norm(inverse.matmat(b).x.numpy() - exact) < 0.2 * np.linalg.norm(exact)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 1e-8), (torch.float64, 1e-18)])
@pytest.mark.parametrize("solver", [Direct(), Arnoldi(n_steps=40)])
def test_rounding_is_no_curvature(dtype, least, solver):
    operator = with_least(least, dtype)
    with pytest.raises(ValueError, match=r"singular to the precision of .* Raise the damping"):
        solver.prepare(operator)
    damped = Damped(operator, 0.1)
    b = torch.ones(40, 1, dtype=dtype)
    exact = torch.linalg.solve(damped.to_dense().double(), b.double())
    found = solver.prepare(damped).matmat(b).x
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_and_ends_no_process(value):
    matrix = torch.eye(150)
    matrix[3, 70] = value
    dense = Dense(matrix)
    for attempt in (
        lambda: extreme_eigenvalues(dense),
        lambda: extreme_eigenvalues(1.0 * dense),
        lambda: Direct().prepare(dense),
        lambda: Arnoldi().prepare(Damped(dense, 1.0)),
    ):
        with pytest.raises(ValueError, match=r"is not finite: .* smaller lr, clip .* scale X"):
            attempt()
