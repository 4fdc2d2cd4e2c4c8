"""K-FAC and EK-FAC against the dense Gauss-Newton matrix."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_attribution.curvature import GaussNewton, KroneckerCurvature
from sam_attribution.problem import CrossEntropyRows, Problem, TargetRows
from tests.models import fitted_problem


class Tokens(nn.Module):
    """An embedding that is called twice, and a norm, before a linear layer with no bias."""

    def __init__(self, n_tokens=5):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, 4)
        self.norm = nn.LayerNorm(4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3, bias=False)

    def forward(self, tokens):
        ahead = self.embedding(tokens[:, :3]) + self.embedding(tokens[:, 3:])
        return self.head(torch.tanh(self.body(self.norm(ahead))).mean(1))


def convolutions(**options):
    first = nn.Conv2d(4, 6, 3, **{"bias": True} | options)
    side = first(torch.zeros(1, 4, 7, 7)).shape[2:]
    return nn.Sequential(
        first,
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6 * side.numel(), 3),
    )


MODULES = {
    "mlp": lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
    "one layer": lambda: nn.Linear(5, 3),
    "positions": lambda: nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Flatten(), nn.Linear(16, 3)),
    "conv": convolutions,
    "conv, strided": lambda: convolutions(stride=2, padding=1),
    "conv, grouped": lambda: convolutions(groups=2, padding="same", bias=False),
    "conv, dilated": lambda: convolutions(dilation=2, padding=2, padding_mode="circular"),
    "conv, depthwise": lambda: nn.Sequential(
        nn.Conv1d(3, 6, 2, groups=3), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
    ),
    "tokens": Tokens,
}
SHAPES = {"positions": (4, 2), "tokens": (6,), "conv, depthwise": (3, 5)}


def problem_of(kind, n=12, **options):
    torch.manual_seed(0)
    module = MODULES[kind]().double().eval()
    shape = SHAPES.get(kind, (4, 7, 7) if kind.startswith("conv") else (5,))
    X = torch.randint(5, (n, *shape)) if kind == "tokens" else torch.randn(n, *shape).double()
    weight = torch.rand(n).double() + 0.5
    options = {"sample_weight": weight, "batch_size": 5} | options
    return Problem(module=module, X=X, y=torch.arange(n) % 3, n_classes=3, **options)


def dense_ggn(problem):
    return GaussNewton(problem, problem.params).to_dense()


def in_basis(block, matrix):
    """A dense block in the eigenbasis of a Kronecker block."""
    identity = torch.eye(len(block.layer.index), dtype=torch.float64)
    basis = block.rotated(identity).flatten(0, -2)
    return basis @ matrix[block.layer.index][:, block.layer.index] @ basis.T


@pytest.mark.parametrize("kind", MODULES)
def test_eigenvalues_are_the_diagonal_of_the_gauss_newton_matrix_in_the_basis(kind):
    problem = problem_of(kind)
    exact = dense_ggn(problem)
    for block in KroneckerCurvature(problem, problem.params).blocks:
        rotated = in_basis(block, exact)
        torch.testing.assert_close(block.eigenvalues.flatten(), rotated.diagonal())
        if not block.layer.is_kronecker:
            torch.testing.assert_close(rotated, torch.diag(rotated.diagonal()))


@pytest.mark.parametrize("kind", ["mlp", "one layer"])
def test_one_row_without_positions_has_the_exact_blocks(kind):
    problem = problem_of(kind, n=1)
    exact, found = (
        dense_ggn(problem),
        torch.zeros(problem.layout.size, problem.layout.size).double(),
    )
    curvature = KroneckerCurvature(problem, problem.params)
    for block in curvature.blocks:
        index = block.layer.index
        found[index[:, None], index] = exact[index[:, None], index]
    torch.testing.assert_close(curvature.to_dense(), found)
    plain = KroneckerCurvature(problem, problem.params, corrected=False)
    torch.testing.assert_close(plain.to_dense(), found)


def test_factors_are_second_moments():
    problem = problem_of("one layer")
    curvature = KroneckerCurvature(problem, problem.params, corrected=False)
    share = problem.weights / problem.weights.sum()
    inputs = torch.cat([problem.X, torch.ones(12, 1)], 1)
    p = problem.logits(problem.params, {}, problem.X).softmax(1)
    signals = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = torch.kron(
        torch.einsum("n,nij->ij", share, signals),
        torch.einsum("n,ni,nj->ij", share, inputs, inputs),
    )
    # (class, input and bias) against weights first, then biases
    order = torch.tensor([6 * c + i for c in range(3) for i in range(5)] + [5, 11, 17])
    torch.testing.assert_close(curvature.to_dense(), expected[order][:, order])


@pytest.mark.parametrize("kind", ["mlp", "conv", "tokens"])
def test_the_corrected_diagonal_is_nearer_in_frobenius_norm(kind):
    problem = problem_of(kind)
    exact = dense_ggn(problem)
    off = []
    for corrected in (True, False):
        curvature = KroneckerCurvature(problem, problem.params, corrected=corrected)
        dense = curvature.to_dense()
        torch.testing.assert_close(dense, dense.T)
        mask = torch.zeros_like(exact)
        for block in curvature.blocks:
            mask[block.layer.index[:, None], block.layer.index] = 1
        off.append(float((dense - mask * exact).norm()))
    assert off[0] < off[1]


@pytest.mark.parametrize("kind", MODULES)
def test_the_inverse_inverts(kind):
    problem = problem_of(kind)
    curvature = KroneckerCurvature(problem, problem.params)
    columns = torch.randn(problem.layout.size, 2, dtype=torch.float64)
    solved = curvature.solve(columns, 0.1)
    torch.testing.assert_close(curvature.matmat(solved) + 0.1 * solved, columns)
    dampings = [0.1 * (number + 1) for number in range(len(curvature.blocks))]
    solved = curvature.solve(columns, dampings)
    back = curvature.matmat(solved)
    for block, damping in zip(curvature.blocks, dampings, strict=True):
        index = block.layer.index
        torch.testing.assert_close(back[index] + damping * solved[index], columns[index])


@pytest.mark.parametrize("kind", ["mlp", "conv, grouped", "tokens"])
def test_passes_do_not_matter(kind):
    problem = problem_of(kind)
    whole = KroneckerCurvature(replace(problem, batch_size=12), problem.params).to_dense()
    torch.testing.assert_close(KroneckerCurvature(problem, problem.params).to_dense(), whole)


@pytest.mark.parametrize("row_loss", [CrossEntropyRows(0.1, torch.tensor([1.0, 2.0, 0.5])), None])
def test_drawn_back_signals_have_the_exact_mean(row_loss):
    loss = {"row_loss": row_loss.in_double_precision()} if row_loss else {}
    problem = problem_of("mlp", batch_size=12, **loss) if row_loss else fitted_problem("regression")
    exact = KroneckerCurvature(problem, problem.params).mean_eigenvalues()
    drawn = KroneckerCurvature(problem, problem.params, n_draws=1000)
    again = KroneckerCurvature(problem, problem.params, n_draws=1000)
    assert drawn.mean_eigenvalues() == again.mean_eigenvalues()
    assert drawn.mean_eigenvalues() == pytest.approx(exact, rel=0.06)


def test_a_part_of_the_parameters():
    problem = problem_of("mlp")
    index = torch.arange(problem.layout.slices["2.weight"].start, problem.layout.size)
    part = replace(problem, selected=index)
    curvature = KroneckerCurvature(part, problem.params)
    whole = KroneckerCurvature(problem, problem.params).to_dense()
    expected = torch.zeros_like(whole)
    expected[index[:, None], index] = whole[index[:, None], index]
    torch.testing.assert_close(curvature.to_dense(), expected)


def test_a_regression_and_its_criterion():
    assert isinstance(fitted_problem("regression").row_loss, TargetRows)
    problem = fitted_problem("regression", True)
    exact = dense_ggn(problem)
    for block in KroneckerCurvature(problem, problem.params).blocks:
        torch.testing.assert_close(block.eigenvalues.flatten(), in_basis(block, exact).diagonal())


class Container(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.layer = nn.Linear(5, 3)

    def forward(self, X):
        return self.scale * self.layer(X)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.head = nn.Linear(10, 3)

    def forward(self, X):
        return self.head(self.layer(X.reshape(-1, 1)).reshape(len(X), -1))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, X):
        return nn.functional.linear(X, self.layer.weight, self.layer.bias)


class Tied(nn.Module):
    """Two layers with one weight: a recurrence as it is sometimes written."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, X):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(X)))))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Tied, r"parameters \['first.weight'\] belong .* to several modules at once"),
        (Container, r"parameters \['scale'\] belong to modules that have parts"),
        (Mixed, r"layers \['layer'\] are given something else than one entry for each row"),
        (Functional, r"layers \['layer'\] are not called"),
    ],
)
def test_what_cannot_be_watched_is_named(module, message):
    strange = replace(problem_of("mlp"), module=module().double().eval())
    with pytest.raises(ValueError, match=message):
        KroneckerCurvature(strange, strange.params)


def test_large_layers_that_are_no_product_have_their_diagonal(monkeypatch):
    monkeypatch.setattr("sam_attribution.curvature._kronecker._DENSE", 10)
    problem = problem_of("tokens")
    curvature, exact = KroneckerCurvature(problem, problem.params), dense_ggn(problem)
    (block,) = [b for b in curvature.blocks if b.layer.name == "embedding"]
    torch.testing.assert_close(block.eigenvalues, exact.diagonal()[block.layer.index])
    columns = torch.randn(problem.layout.size, 2, dtype=torch.float64)
    solved = curvature.solve(columns, 0.1)
    torch.testing.assert_close(curvature.matmat(solved) + 0.1 * solved, columns)
