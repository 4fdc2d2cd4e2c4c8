import pytest
import torch

from sam_attribution.linalg import Damped, Dense, Diagonal, Identity, Product, Restricted, Sum

torch.manual_seed(0)
A = torch.randn(6, 6, dtype=torch.float64)
B = torch.randn(6, 6, dtype=torch.float64)
S = A + A.T
d = torch.arange(1.0, 7.0, dtype=torch.float64)
index = torch.tensor([4, 0, 3])

OPERATORS = {
    "dense": (Dense(A), A),
    "symmetric": (Dense(S, symmetric=True), S),
    "diagonal": (Diagonal(d), torch.diag(d)),
    "identity": (Identity(d), torch.eye(6, dtype=torch.float64)),
    "sum": (Dense(A) + Dense(B), A + B),
    "sum of symmetric": (Sum(Dense(S, symmetric=True), Diagonal(d)), S + torch.diag(d)),
    "product": (Dense(A) @ Dense(B), A @ B),
    "damped": (Damped(Dense(A), 0.7), A + 0.7 * torch.eye(6, dtype=torch.float64)),
    "difference": (Dense(A) - Dense(B), A - B),
    "scaled": (3.0 * Dense(A), 3 * A),
    "restricted": (Restricted(Dense(A), index), A[index][:, index]),
    "nested": (Damped(Dense(A) @ (Identity(d) + Dense(B)), 2.0), A + A @ B + 2 * torch.eye(6)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_products_equal_the_dense_matrix(name):
    operator, dense = OPERATORS[name]
    u, v = torch.randn(2, operator.size, dtype=torch.float64)
    torch.testing.assert_close(operator.matvec(v), dense @ v)
    torch.testing.assert_close(u @ operator.matvec(v), operator.T.matvec(u) @ v)
    torch.testing.assert_close(operator.to_dense(chunk=2), dense)
    torch.testing.assert_close(operator.T.T.to_dense(), dense)
    assert operator.symmetric == torch.equal(dense, dense.T) or not operator.symmetric


def test_the_symmetric_flag_survives_where_it_should():
    symmetric = Dense(S, symmetric=True)
    assert (symmetric + Diagonal(d)).symmetric
    assert Damped(symmetric, 1.0).symmetric
    assert (2.0 * symmetric).symmetric
    assert Restricted(symmetric, index).symmetric
    assert not Product(symmetric, Diagonal(d)).symmetric
    assert not (symmetric + Dense(A)).symmetric


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="operators must have one size"):
        Dense(A) + Dense(torch.eye(3))
