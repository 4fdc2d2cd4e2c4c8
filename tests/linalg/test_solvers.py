from itertools import product

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sam_attribution.linalg import (
    CG,
    GMRES,
    Arnoldi,
    Damped,
    Dense,
    Direct,
    LinearOperator,
    LiSSA,
    Neumann,
)
from tests.cases import SOLVERS

torch.manual_seed(0)
_R = torch.randn(20, 20, dtype=torch.float64)
_I = torch.eye(20, dtype=torch.float64)
STRUCTURES = {
    "positive definite": Damped(Dense(_R @ _R.T / 20, symmetric=True), 0.1),
    "symmetric indefinite": Dense(_R + _R.T + 0.3 * _I, symmetric=True),
    "non-symmetric": Dense(_R / 5 + 2 * _I),
    "non-normal": Dense(torch.triu(_R) / 3 + 2 * _I),
}


_OTHERS = set(STRUCTURES) - {"positive definite"}
REFUSED = {  # what each says instead is asserted below
    ("neumann", "symmetric indefinite"),
    *product(("cg", "cg, preconditioned"), _OTHERS),
    *product(("minres",), _OTHERS - {"symmetric indefinite"}),
}


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
            solution.x, torch.linalg.solve(operator.to_dense(), columns), rtol=1e-8, atol=1e-8
        )
        assert solution.converged
        assert solution.residual < 1e-8


@pytest.mark.parametrize(
    ("solver", "structure"), [p for p in product(SOLVERS, STRUCTURES) if p not in REFUSED]
)
def test_the_transposed_inverse_is_the_dense_one_of_the_transpose(solver, structure):
    operator = STRUCTURES[structure]
    b = torch.randn(20, 3, dtype=torch.float64)
    inverse = SOLVERS[solver].prepare(operator)
    for transposed, matrix in ((inverse.T, operator.T), (inverse.T.T, operator)):
        solution = transposed.matmat(b)
        torch.testing.assert_close(
            solution.x, torch.linalg.solve(matrix.to_dense(), b), rtol=1e-8, atol=1e-8
        )
        assert solution.converged
    assert (inverse.T is inverse) == operator.symmetric


def test_direct_solves_with_the_transpose_by_the_factors_it_has(monkeypatch):
    inverse = Direct().prepare(STRUCTURES["non-symmetric"])
    monkeypatch.setattr(torch.linalg, "lu_factor_ex", None)
    b = torch.randn(20, 1, dtype=torch.float64)
    expected = torch.linalg.solve(STRUCTURES["non-symmetric"].to_dense().T, b)
    torch.testing.assert_close(inverse.T.matmat(b).x, expected)


def test_not_converging_warns_with_the_residual():
    inverse = GMRES(max_iter=3, restart=3).prepare(STRUCTURES["symmetric indefinite"])
    with pytest.warns(ConvergenceWarning, match="stopped at a relative residual"):
        solution = inverse.matmat(torch.ones(20, 1, dtype=torch.float64))
    assert not solution.converged


@pytest.mark.parametrize("solver", ["cg", "minres"])
@pytest.mark.parametrize("structure", ["non-symmetric", "non-normal"])
def test_what_needs_symmetry_names_the_solvers_to_take(solver, structure):
    with pytest.raises(ValueError, match=r"needs a symmetric operator.*GMRES\(\) or BiCGSTAB"):
        SOLVERS[solver].prepare(STRUCTURES[structure])


def test_cg_refuses_negative_curvature_where_it_meets_it():
    inverse = CG().prepare(STRUCTURES["symmetric indefinite"])
    with pytest.raises(ValueError, match=r"positive definite.*curvature of -.*MINRES"):
        inverse.matmat(torch.randn(20, 3, dtype=torch.float64))


def spread_out(condition, size=200):
    """A positive definite operator in float32, eigenvalues from 1 down, and a right-hand side."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(size, size, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(drawn)[0]
    values = condition ** torch.linspace(0, -1, size, dtype=torch.float64)
    matrix = (basis * values) @ basis.T
    return Dense(matrix.float(), symmetric=True), torch.randn(size, 1, generator=generator)


class Counting(Dense):
    """Notes how many columns each product had."""

    def matmat(self, columns):
        self.widths.append(columns.shape[1])
        return super().matmat(columns)


def test_cg_multiplies_no_column_that_is_solved():
    values = torch.linspace(1, 9, 20, dtype=torch.float64)
    operator = Counting(torch.diag(values), symmetric=True)
    operator.widths = []
    easy, hard = torch.eye(20, dtype=torch.float64)[:, 0], torch.ones(20, dtype=torch.float64)
    found = CG(tol=1e-10).prepare(operator).matmat(torch.stack([easy, hard], dim=1))
    torch.testing.assert_close(found.x, torch.stack([easy, hard / values], dim=1))
    assert operator.widths[:2] == [2, 1]  # an eigenvector takes one step


def test_cg_begins_again_where_the_residual_it_carries_has_drifted():
    operator, b = spread_out(1e3)
    found = CG(tol=1e-5, max_iter=3000).prepare(operator).matmat(b)
    assert found.converged
    assert found.residual < 2e-5


def test_cg_stops_at_what_single_precision_can_reach():
    operator, b = spread_out(1e4)
    with pytest.warns(ConvergenceWarning, match="relative residual"):
        found = CG(tol=1e-5, max_iter=3000).prepare(operator).matmat(b)
    assert found.residual < 1e-3  # the machine's precision times the condition
    assert found.n_iter < 3000


class Opposite(Direct):
    """Minus the inverse: no preconditioner."""

    def prepare(self, operator):
        return super().prepare(-1.0 * operator)


def test_a_preconditioner_that_points_uphill_is_refused():
    operator = Dense(torch.diag(torch.tensor([1.0, 2.0, 3.0])), symmetric=True)
    solver = CG(preconditioner=Opposite())
    with pytest.raises(ValueError, match="preconditioner must be a positive definite"):
        solver.prepare(operator).matmat(torch.ones(3, 1))


def test_a_solver_that_stops_early_names_its_own_setting():
    operator = Dense(torch.diag(torch.tensor([1.0, 100.0])), symmetric=True)
    with pytest.warns(ConvergenceWarning, match="raise max_iter or the damping"):
        CG(max_iter=1).prepare(operator).matmat(torch.ones(2, 1))
    with pytest.warns(ConvergenceWarning, match="raise n_steps or the damping"):
        Arnoldi(n_steps=1, tol=1e-6).prepare(Damped(operator, 1.0)).matmat(torch.ones(2, 1))


def test_a_preconditioner_saves_products():
    values = torch.logspace(-4, 2, 200, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64))[0]
    operator = Damped(Dense(basis * values @ basis.T, symmetric=True), 1e-3)
    b = torch.randn(200, 2, dtype=torch.float64)
    helper = Arnoldi(n_steps=60, measured=False)
    plain = CG(max_iter=2000).prepare(operator).matmat(b)
    helped = CG(max_iter=2000, preconditioner=helper).prepare(operator).matmat(b)
    assert helped.converged
    assert helped.n_iter < plain.n_iter / 2


def test_a_zero_column_and_one_solved_early_stay_as_they_are():
    operator = STRUCTURES["positive definite"]
    eigenvector = torch.linalg.eigh(operator.to_dense())[1][:, 0]
    b = torch.stack([torch.zeros_like(eigenvector), eigenvector, torch.ones_like(eigenvector)], 1)
    solution = CG(tol=1e-11).prepare(operator).matmat(b)
    torch.testing.assert_close(solution.x, torch.linalg.solve(operator.to_dense(), b))


@pytest.mark.parametrize("solver", [*SOLVERS.values(), LiSSA()], ids=lambda s: type(s).__name__)
def test_right_hand_sides_that_are_not_finite_are_refused(solver):
    columns = torch.zeros(20, 3, dtype=torch.float64)
    columns[1, 1:] = torch.tensor([torch.nan, torch.inf])
    with pytest.raises(ValueError, match=r"columns must be finite.*in 2 of 3 right-hand sides"):
        solver.prepare(STRUCTURES["positive definite"]).matmat(columns)


@pytest.mark.parametrize("solver", ["gmres", "minres", "bicgstab"])
def test_products_are_counted_and_limited(solver):
    class Counted(Dense):
        count = 0

        def matvec(self, v):
            self.count += 1
            return super().matvec(v)

    operator = Counted(STRUCTURES["symmetric indefinite"].matrix, symmetric=True)
    b = torch.ones(20, 1, dtype=torch.float64)
    with pytest.warns(ConvergenceWarning):
        found = clone(SOLVERS[solver]).set_params(max_iter=6).prepare(operator).matmat(b)
    assert found.n_iter == operator.count <= 6 + 2  # one to measure, one of scipy's per start


@pytest.mark.parametrize("solver", ["gmres", "minres", "bicgstab", "cg"])
def test_single_precision_stops_at_its_own_limit(solver):
    """Asked for more than float32 has, it says so instead of turning for ever."""
    operator = Dense(STRUCTURES["positive definite"].to_dense().float(), symmetric=True)
    b = torch.randn(20, 1)
    with pytest.warns(ConvergenceWarning):
        solution = SOLVERS[solver].prepare(operator).matmat(b)
    assert solution.residual < 1e-5


def test_neumann_refuses_what_no_scale_makes_converge():
    with pytest.raises(ValueError, match=r"positive real part.*Raise the damping.*GMRES"):
        Neumann().prepare(STRUCTURES["symmetric indefinite"])


def test_neumann_takes_the_scale_that_converges_fastest():
    operator = STRUCTURES["positive definite"]
    values = torch.linalg.eigvalsh(operator.to_dense())
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
    torch.testing.assert_close(inverse.matmat(b).x, torch.linalg.solve(operator.to_dense(), b))


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


class Rows(LinearOperator):
    """``mean of x x'`` over data rows."""

    def __init__(self, X):
        super().__init__(X[0], symmetric=True)
        self.X = X

    def matvec(self, v):
        return self.X.T @ (self.X @ v) / len(self.X)

    def sampled(self, n_rows, generator):
        return Rows(self.X[torch.randperm(len(self.X), generator=generator)[:n_rows]])


def lissa_problem():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    operator = Damped(Rows(X), 0.5)
    b = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    return operator, b, torch.linalg.solve(operator.to_dense(), b)


def test_lissa_of_all_rows_is_the_solution():
    operator, b, expected = lissa_problem()
    solution = LiSSA(batch_size=300, n_terms=600).prepare(operator).matmat(b)
    torch.testing.assert_close(solution.x, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_lissa_of_some_rows_nears_it_with_more_terms_and_repeats():
    operator, b, expected = lissa_problem()

    def off(**settings):
        solution = LiSSA(batch_size=10, random_state=0, **settings).prepare(operator).matmat(b)
        return float((solution.x - expected).norm() / expected.norm())

    few, many, repeated = off(n_terms=100), off(n_terms=10_000), off(n_terms=100, n_repeats=50)
    assert many < 0.02 < few
    assert repeated < few / 2
    inverse = LiSSA(batch_size=10, n_terms=50).prepare(operator)
    assert torch.equal(inverse.matmat(b).x, inverse.matmat(b).x)


def test_lissa_draws_the_rows_that_its_random_state_names():
    operator, b, _ = lissa_problem()

    def solved(random_state):
        solver = LiSSA(batch_size=10, n_terms=50, tol=1.0, random_state=random_state)
        return solver.prepare(operator).matmat(b).x

    assert torch.equal(solved(3), solved(3))
    drawn = [solved(np.random.RandomState(3)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(solved(3), solved(4))
    assert not torch.equal(solved(None), solved(None))


@pytest.mark.slow
def test_lissa_begins_again_where_single_rows_diverge():
    X = torch.ones(100, 1, dtype=torch.float64)
    X[:3] = 30.0
    operator = Damped(Rows(X), 1.0)
    inverse = LiSSA(batch_size=1, n_terms=2000, tol=1.0, random_state=0).prepare(operator)
    first = inverse.scale
    b = torch.ones(1, 1, dtype=torch.float64)
    x = inverse.matmat(b).x
    assert inverse.scale > first
    assert bool(torch.isfinite(x).all())
    assert torch.equal(inverse.matmat(b).x, x)


def test_lissa_refuses_what_diverges_for_any_scale():
    with pytest.raises(ValueError, match=r"LiSSA needs eigenvalues with positive real part"):
        LiSSA().prepare(STRUCTURES["symmetric indefinite"])


@pytest.mark.parametrize("damping", [0.0, 0.001, 0.3])
def test_arnoldi_outside_its_subspace_takes_what_is_left_of_the_spectrum(damping):
    """Decay in the operator itself: 0.3 at the least, with and without a damping beside it."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0]
    few = basis[:, :5] * torch.arange(1.0, 6.0, dtype=torch.float64) @ basis[:, :5].T
    own = Dense(few + (0.3 - damping) * torch.eye(60, dtype=torch.float64), symmetric=True)
    b = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    solution = Arnoldi(n_steps=6).prepare(Damped(own, damping)).matmat(b)
    expected = torch.linalg.solve(own.matrix + damping * torch.eye(60, dtype=b.dtype), b)
    torch.testing.assert_close(solution.x, expected)
    with pytest.raises(ValueError, match=r"has eigenvalues near 0 or below.*GMRES"):
        Arnoldi(n_steps=6).prepare(Damped(Dense(few, symmetric=True), 0.0))
