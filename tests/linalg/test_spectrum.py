import numpy as np
import pytest
import torch

from sam_attribution.linalg import Dense, Diagonal, extreme_eigenvalues


@pytest.mark.parametrize("seed", range(5))
def test_small_operators_are_exact(seed):
    matrix = np.random.default_rng(seed).normal(size=(30, 30))
    found = extreme_eigenvalues(Dense(torch.as_tensor(matrix)))
    values = np.linalg.eigvals(matrix)
    assert found.radius == pytest.approx(np.abs(values).max())
    assert found.leftmost == pytest.approx(values.real.min())


def test_outliers_of_a_large_operator_are_found():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(scale=0.01, size=497), [3.0, 1.0, -0.2]])
    basis = np.linalg.qr(rng.normal(size=(500, 500)))[0]
    dense = Dense(torch.as_tensor(basis * values @ basis.T), symmetric=True)
    found = extreme_eigenvalues(1.0 * dense)  # known by its products alone
    assert found.radius == pytest.approx(3.0, rel=1e-6)
    assert found.leftmost == pytest.approx(-0.2, rel=1e-6)


def test_a_dense_matrix_hides_no_small_negative_eigenvalue():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(0, 1, size=399), [-1e-3]])
    basis = np.linalg.qr(rng.normal(size=(400, 400)))[0]
    dense = Dense(torch.as_tensor(basis * values @ basis.T), symmetric=True)
    assert extreme_eigenvalues(dense).leftmost == pytest.approx(-1e-3, rel=1e-6)
    assert extreme_eigenvalues(1.0 * dense, 10).leftmost > -1e-3


def test_an_invariant_subspace_ends_the_search():
    found = extreme_eigenvalues(Diagonal(torch.ones(7)))
    assert found.radius == pytest.approx(1, rel=1e-6)
    assert found.leftmost == pytest.approx(1, rel=1e-6)
