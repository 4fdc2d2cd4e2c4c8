from itertools import product

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sam_attribution.linalg import GMRES, Damped, Dense, Direct, Neumann
from tests.cases import SOLVERS

torch.manual_seed(0)
_R = torch.randn(20, 20, dtype=torch.float64)
_I = torch.eye(20, dtype=torch.float64)
STRUCTURES = {
    "positive definite": Dense(_R @ _R.T / 20 + 0.1 * _I, symmetric=True),
    "symmetric indefinite": Dense(_R + _R.T + 0.3 * _I, symmetric=True),
    "non-symmetric": Dense(_R / 5 + 2 * _I),
    "non-normal": Dense(torch.triu(_R) / 3 + 2 * _I),
}


REFUSED = {("neumann", "symmetric indefinite")}


@pytest.mark.parametrize(
    ("solver", "structure"), [p for p in product(SOLVERS, STRUCTURES) if p not in REFUSED]
)
def test_solution_equals_the_dense_one(solver, structure):
    operator = STRUCTURES[structure]
    b = torch.randn(20, 3, dtype=torch.float64)
    inverse = SOLVERS[solver].prepare(operator)
    for columns in (b, 2 * b[:, :1]):  # prepared once, applied to many
        solution = inverse.matmat(columns)
        torch.testing.assert_close(
            solution.x, torch.linalg.solve(operator.matrix, columns), rtol=1e-8, atol=1e-8
        )
        assert solution.converged
        assert solution.residual < 1e-8


def test_not_converging_warns_with_the_residual():
    inverse = GMRES(max_iter=3, restart=3).prepare(STRUCTURES["symmetric indefinite"])
    with pytest.warns(ConvergenceWarning, match="stopped at a relative residual"):
        solution = inverse.matmat(torch.ones(20, 1, dtype=torch.float64))
    assert not solution.converged


def test_neumann_refuses_what_no_scale_makes_converge():
    with pytest.raises(ValueError, match=r"positive real part.*Raise the damping.*GMRES"):
        Neumann().prepare(STRUCTURES["symmetric indefinite"])


def test_neumann_takes_the_scale_that_converges_fastest():
    operator = STRUCTURES["positive definite"]
    values = torch.linalg.eigvalsh(operator.matrix)
    inverse = Neumann().prepare(operator)
    assert inverse.scale == pytest.approx(1.05 * float(values.min() + values.max()) / 2, rel=1e-4)


def test_neumann_of_complex_eigenvalues_where_the_largest_modulus_would_diverge():
    """Eigenvalues 1 +- 4i: |1 - e / |e|| > 1, so the scale must be above |e|**2 / (2 Re e)."""
    rotation = torch.tensor([[1.0, 4.0], [-4.0, 1.0]], dtype=torch.float64)
    inverse = Neumann(tol=1e-9).prepare(Dense(rotation))
    b = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    torch.testing.assert_close(inverse.matmat(b).x, torch.linalg.solve(rotation, b))
    assert inverse.scale > 17 / 2


def test_neumann_slows_down_where_the_estimates_miss_the_spectrum(monkeypatch):
    monkeypatch.setattr("sam_attribution.linalg._neumann._N_STEPS", 3)
    operator = STRUCTURES["positive definite"]
    inverse = Neumann(tol=1e-9, max_iter=5000).prepare(operator)
    inverse.scale /= 3  # where |1 - e / scale| > 1
    b = torch.randn(20, 2, dtype=torch.float64)
    torch.testing.assert_close(inverse.matmat(b).x, torch.linalg.solve(operator.matrix, b))


def test_a_singular_matrix_is_refused():
    singular = Dense(torch.ones(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="singular"):
        Direct().prepare(singular)
    solution = Direct().prepare(Damped(singular, 1.0)).matmat(torch.ones(3, 1).double())
    torch.testing.assert_close(solution.x, torch.full((3, 1), 0.25).double())


def test_float32_reaches_float32_accuracy():
    operator = Dense(STRUCTURES["non-symmetric"].matrix.float())
    b = torch.randn(20, 1)
    exact = torch.linalg.solve(operator.matrix.double(), b.double())
    for solver in (Direct(), GMRES(), Neumann()):
        x = solver.prepare(operator).matmat(b).x
        assert x.dtype == torch.float32
        torch.testing.assert_close(x.double(), exact, rtol=1e-4, atol=1e-5)
