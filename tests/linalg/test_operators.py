import pytest
import torch

from sam_attribution.linalg import (
    BlockDiagonal,
    Damped,
    Dense,
    Diagonal,
    LinearOperator,
    Product,
    Restricted,
    Sum,
)

torch.manual_seed(0)
A = torch.randn(6, 6, dtype=torch.float64)
B = torch.randn(6, 6, dtype=torch.float64)
S = A + A.T
d = torch.arange(1.0, 7.0, dtype=torch.float64)
index = torch.tensor([4, 0, 3])
blocks = [torch.tensor([4, 0, 3]), torch.tensor([1]), torch.tensor([5, 2])]
within = torch.zeros(6, 6, dtype=torch.float64)
for block in blocks:
    within[block[:, None], block] = 1

OPERATORS = {
    "blocks": (BlockDiagonal(Dense(A), blocks), within * A),
    "symmetric blocks": (BlockDiagonal(Dense(S, symmetric=True), blocks), within * S),
    "dense": (Dense(A), A),
    "symmetric": (Dense(S, symmetric=True), S),
    "diagonal": (Diagonal(d), torch.diag(d)),
    "sum": (Dense(A) + Dense(B), A + B),
    "sum of symmetric": (Sum(Dense(S, symmetric=True), Diagonal(d)), S + torch.diag(d)),
    "product": (Dense(A) @ Dense(B), A @ B),
    "damped": (Damped(Dense(A), 0.7), A + 0.7 * torch.eye(6, dtype=torch.float64)),
    "difference": (Dense(A) - Dense(B), A - B),
    "scaled": (3.0 * Dense(A), 3 * A),
    "restricted": (Restricted(Dense(A), index), A[index][:, index]),
    "nested": (
        Damped(Dense(A) @ (Diagonal(d) + Dense(B)), 2.0),
        A @ torch.diag(d) + A @ B + 2 * torch.eye(6),
    ),
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
    assert BlockDiagonal(symmetric, blocks).symmetric
    assert not Product(symmetric, Diagonal(d)).symmetric
    assert not (symmetric + Dense(A)).symmetric


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="operators must have one size"):
        Dense(A) + Dense(torch.eye(3))


class Counting(LinearOperator):
    """A matrix that counts its products."""

    def __init__(self, matrix):
        super().__init__(matrix[0], symmetric=False)
        self.matrix, self.n_products = matrix, 0

    def matvec(self, v):
        self.n_products += 1
        return self.matrix @ v


def test_blocks_cost_a_product_each_and_their_dense_matrix_one_per_column():
    counting = Counting(A)
    operator = BlockDiagonal(counting, blocks)
    columns = torch.randn(6, 5, dtype=torch.float64)
    torch.testing.assert_close(operator.matmat(columns), (within * A) @ columns)
    assert counting.n_products == 3 * 5
    counting.n_products = 0
    torch.testing.assert_close((operator + Diagonal(d)).to_dense(), within * A + torch.diag(d))
    assert counting.n_products == 6
    assert torch.equal(operator.matvec(torch.zeros(6, dtype=torch.float64)), torch.zeros_like(d))


@pytest.mark.parametrize(
    "wrong", [[], blocks[:2], [*blocks, torch.tensor([1])], [torch.arange(1, 7)]]
)
def test_blocks_hold_every_position_once(wrong):
    with pytest.raises(ValueError, match="blocks must hold every position from 0 to 5 once"):
        BlockDiagonal(Dense(A), wrong)
