"""K-FAC and EK-FAC against the dense Gauss-Newton matrix."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_attribution.curvature import KroneckerCurvature
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


class PaddedTokens(nn.Module):
    """Token 2 is padding; the others stand in a row more than once."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4, padding_idx=2)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens):
        return self.head(torch.tanh(self.embedding(tokens).sum(1)))


class Positions(nn.Module):
    """Positions are looked up once for all rows, as Hugging Face does."""

    def __init__(self):
        super().__init__()
        self.embedding, self.places = nn.Embedding(5, 4), nn.Embedding(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, tokens):
        places = self.places(torch.arange(tokens.shape[1])[None])
        return self.head(torch.tanh(self.embedding(tokens) + places).mean(1))


class Gate(nn.Module):
    """Not linear in its parameter, so that its gradient depends on where that is."""

    def __init__(self, n_features):
        super().__init__()
        self.rate = nn.Parameter(torch.randn(n_features))

    def forward(self, X):
        return X * torch.exp(self.rate)


class Halved(nn.Linear):
    """A subclass that goes another way: no Kronecker product of its input."""

    def forward(self, X):
        return nn.functional.linear(X.square(), self.weight / 2)


def norms():
    return nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.PReLU(4), nn.Flatten(),
        nn.BatchNorm1d(100), nn.LayerNorm(100), nn.RMSNorm(100), nn.Linear(100, 3),
    )  # fmt: skip


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
    "conv, 3d": lambda: nn.Sequential(
        nn.Conv3d(1, 2, 2, stride=(1, 2, 1)), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)
    ),
    "conv, transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(128, 3)
    ),
    "conv, norms": norms,
    "own": lambda: nn.Sequential(Gate(5), nn.Linear(5, 4), nn.PReLU(), Halved(4, 3, bias=False)),
    "tokens": Tokens,
    "tokens, padded": PaddedTokens,
    "tokens, with positions": Positions,
}
SHAPES = {
    "positions": (4, 2),
    "tokens": (6,),
    "tokens, padded": (6,),
    "tokens, with positions": (6,),
    "conv, depthwise": (3, 5),
    "conv, 3d": (1, 3, 4, 3),
}


def problem_of(kind, n=12, **options):
    torch.manual_seed(0)
    module = MODULES[kind]().double().eval()
    shape = SHAPES.get(kind, (4, 7, 7) if kind.startswith("conv") else (5,))
    tokens = kind.startswith("tokens")
    X = torch.randint(5, (n, *shape)) if tokens else torch.randn(n, *shape).double()
    return problem_with(module, X, **options)


def problem_with(module, X, **options):
    n = len(X)
    weight = torch.rand(n).double() + 0.5
    options = {"sample_weight": weight, "batch_size": 5} | options
    return Problem(module=module, X=X, y=torch.arange(n) % 3, n_classes=3, **options)


def dense_ggn(problem, point=None):
    """From the Jacobian of the logits and the Hessian of every row's loss in them."""
    point = problem.params if point is None else point

    def logits(w):
        return problem.logits(w, problem.buffers, problem.X)

    def loss(z, y):
        return problem.row_loss.per_sample(z[None], y[None])[0]

    jacobian = torch.func.jacrev(logits)(point)
    middle = torch.func.vmap(torch.func.hessian(loss))(logits(point), problem.y)
    share = problem.weights / problem.total_weight
    return torch.einsum("n,ncp,ncd,ndq->pq", share, jacobian, middle, jacobian)


def in_basis(block, matrix):
    """A dense block in the eigenbasis of a Kronecker block."""
    identity = torch.eye(len(block.layer.index), dtype=torch.float64)
    basis = block.rotated(identity).flatten(0, -2)
    return basis @ matrix[block.layer.index][:, block.layer.index] @ basis.T


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODULES)
def test_eigenvalues_are_the_diagonal_of_the_gauss_newton_matrix_in_the_basis(kind):
    problem = problem_of(kind)
    exact = dense_ggn(problem)
    for block in KroneckerCurvature(problem, problem.params).blocks:
        rotated = in_basis(block, exact)
        torch.testing.assert_close(block.eigenvalues.flatten(), rotated.diagonal())
        if getattr(block, "is_dense", False):
            torch.testing.assert_close(rotated, torch.diag(rotated.diagonal()))


def with_head(layer, n_out):
    return nn.Sequential(layer, nn.Flatten(), nn.Tanh(), nn.Linear(n_out, 3))


# a layer that meets one position in a row of this shape, and the numbers that it puts out
ONE_POSITION = {
    "linear": (lambda: nn.Linear(5, 4), (5,), 4),
    "linear, no bias": (lambda: nn.Linear(5, 4, bias=False), (5,), 4),
    "linear over a sequence": (lambda: nn.Linear(5, 4), (1, 5), 4),
    "conv 1d": (lambda: nn.Conv1d(2, 4, 5), (2, 5), 4),
    "conv 1d, strided, dilated": (
        lambda: nn.Conv1d(2, 4, 3, stride=7, dilation=2, padding=1), (2, 5), 4,
    ),
    "conv 2d, padded": (
        lambda: nn.Conv2d(2, 4, 3, stride=4, dilation=2, padding=1), (2, 3, 3), 4,
    ),
    "conv 2d, reflected": (
        lambda: nn.Conv2d(2, 4, 5, padding=1, padding_mode="reflect"), (2, 3, 3), 4,
    ),
    "conv 2d, grouped": (lambda: nn.Conv2d(4, 6, (3, 2), groups=2), (4, 3, 2), 6),
    "conv 2d, depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), (4, 3, 3), 4),
    "conv 3d": (lambda: nn.Conv3d(1, 4, 2), (1, 2, 2, 2), 4),
    "embedding": (lambda: nn.Embedding(5, 4), (), 4),
    "embedding, padded": (lambda: nn.Embedding(5, 4, padding_idx=2), (3,), 12),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("kind", ONE_POSITION)
def test_one_row_with_one_position_has_the_exact_block(kind, corrected):
    torch.manual_seed(0)
    make, shape, n_out = ONE_POSITION[kind]
    module = with_head(make(), n_out).double().eval()
    tokens = torch.tensor([[2, 4, 2]]) if shape else torch.tensor([3])
    X = tokens if kind.startswith("embedding") else torch.randn(1, *shape).double()
    problem = problem_with(module, X)
    exact = dense_ggn(problem)
    expected = torch.zeros_like(exact)
    for index in block_positions(problem, getattr(module[0], "groups", 1)):
        expected[index[:, None], index] = exact[index[:, None], index]
    found = KroneckerCurvature(problem, problem.params, corrected=corrected).to_dense()
    torch.testing.assert_close(found, expected)
    assert expected[problem.layout.layers()["0"]].norm() > 0


def block_positions(problem, n_groups):
    """Positions of the head, and of each group of channels of the first layer."""
    layers, slices = problem.layout.layers(), problem.layout.slices
    yield layers["3"]
    own = [name for name in slices if name.startswith("0.")]
    by_group = [torch.arange(slices[n].start, slices[n].stop).chunk(n_groups) for n in own]
    for parts in zip(*by_group, strict=True):
        yield torch.cat(parts)


@pytest.mark.parametrize("kind", ["conv, norms", "conv, transposed", "own"])
def test_other_layers_have_the_exact_block_of_all_rows(kind):
    problem = problem_of(kind)
    point = problem.params + 0.3 * torch.randn_like(problem.params)
    exact, dense = dense_ggn(problem, point), KroneckerCurvature(problem, point).to_dense()
    names = {"conv, norms": "1 2 3 4 6 7 8", "conv, transposed": "0", "own": "0 2 3"}[kind].split()
    layers = problem.layout.layers()
    for name in names:
        index = layers[name]
        torch.testing.assert_close(dense[index][:, index], exact[index][:, index])


def test_the_factors_of_an_embedding_are_frequencies_and_the_moments_of_its_signals():
    problem = problem_of("tokens, padded")
    share = problem.weights / problem.weights.sum()
    real = problem.X != 2
    counts = torch.stack([(share[:, None] * (t == problem.X))[real].sum() for t in range(5)])
    counts[2] = 0
    table, head, bias = (problem.params[span] for span in problem.layout.slices.values())
    ahead = torch.tanh((table.reshape(5, 4)[problem.X] * real[..., None]).sum(1))
    p = torch.softmax(ahead @ head.reshape(3, 4).T + bias, 1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    J = head.reshape(3, 4) * (1 - ahead**2)[:, None]  # of the logits in what is looked up
    signals = torch.einsum("n,ncp,ncd,ndq->pq", share * real.sum(1), J, middle, J)
    plain = KroneckerCurvature(problem, problem.params, corrected=False)
    found = plain.to_dense()[:20, :20]
    torch.testing.assert_close(found, torch.kron(torch.diag(counts / counts.sum()), signals))


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


@pytest.mark.parametrize("kind", ["mlp", "conv", "tokens", "tokens, padded"])
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["mlp", "conv, grouped", "conv, norms", "own", "tokens", "tokens, padded"]
)
def test_passes_do_not_matter(kind):
    problem = problem_of(kind)
    whole = KroneckerCurvature(replace(problem, batch_size=12), problem.params).to_dense()
    torch.testing.assert_close(KroneckerCurvature(problem, problem.params).to_dense(), whole)


@pytest.mark.slow
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


def test_label_smoothing_beside_class_weights():
    """Torch weights what is smoothed away by the classes that get it, not by the row's own."""
    row_loss = CrossEntropyRows(0.3, torch.tensor([1.0, 4.0, 0.5])).in_double_precision()
    problem = problem_of("mlp", row_loss=row_loss)
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


class FirstOfAll(nn.Module):
    """The table of all rows is taken from the first."""

    def __init__(self):
        super().__init__()
        self.places, self.head = nn.Embedding(5, 1), nn.Linear(5, 3)

    def forward(self, X):
        return self.head(X * self.places(torch.arange(5)[None])[0, :, 0])


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
        (Container, r"parameters \['scale'\] belong to modules that have submodules"),
        (Mixed, r"inputs of the layers \['layer'\] do not have one entry for each row"),
        (FirstOfAll, r"inputs of the layers \['places'\] do not have one entry for each row"),
        (Functional, r"layers \['layer'\] are not called"),
    ],
)
def test_what_cannot_be_watched_is_named(module, message):
    strange = replace(problem_of("mlp"), module=module().double().eval())
    with pytest.raises(ValueError, match=message):
        KroneckerCurvature(strange, strange.params)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, X):
        return self.head(self.lstm(X[:, None])[0][:, 0])


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.Bilinear(5, 5, 3)

    def forward(self, X):
        return self.both(X, X)


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(5, 1, batch_first=True), nn.Linear(5, 3)

    def forward(self, X):
        X = X[:, None]
        return self.head(self.attention(X, X, X, need_weights=False)[0][:, 0])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Recurrent, r"layers \['lstm'\] are not called with one tensor to give one tensor"),
        (Pairs, r"layers \['both'\] are not called with one tensor to give one tensor"),
        (Attending, r"\['attention.in_proj_weight', 'attention.in_proj_bias'\] belong to modules"),
    ],
)
def test_layers_with_other_calls_are_named(module, message):
    strange = replace(problem_of("mlp"), module=module().double().eval())
    with pytest.raises(ValueError, match=message):
        KroneckerCurvature(strange, strange.params)


class WeightUsedTwice(nn.Module):
    """The second use of the weight is no call of the layer."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, X):
        return self.head(torch.tanh(self.layer(X)) @ self.layer.weight)


def hooked():
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3))
    net[0].register_forward_hook(lambda _, args, output: output**2)
    return net


def hooked_before():
    net = nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 3))
    net[1].register_forward_pre_hook(lambda _, args: (args[0] ** 2,))
    return net


class TableUsedTwice(nn.Module):
    """Tied embeddings: logits are products with the table."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(3, 4), nn.LayerNorm(4)

    def forward(self, X):
        return self.norm(self.table(X.argmax(1) % 3)) @ self.table.weight.T


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (WeightUsedTwice, "layer"),
        (TableUsedTwice, "table"),
        (hooked, "0"),
        (hooked_before, "1"),
    ],
)
def test_parameters_that_count_outside_of_calls_are_named(module, layer):
    torch.manual_seed(0)
    strange = replace(problem_of("mlp"), module=module().double().eval())
    with pytest.raises(ValueError, match=rf"\['{layer}'\] are used outside of the layers' calls"):
        KroneckerCurvature(strange, strange.params)
    without = [n for n in strange.layout.names if not n.startswith(layer)]
    index = torch.cat(
        [torch.arange(strange.layout.size)[strange.layout.slices[n]] for n in without]
    )
    assert KroneckerCurvature(replace(strange, selected=index), strange.params).blocks


def test_large_layers_that_are_no_product_have_their_diagonal(monkeypatch):
    monkeypatch.setattr("sam_attribution.curvature._kronecker._DENSE", 10)
    problem = problem_of("conv, norms")
    curvature, exact = KroneckerCurvature(problem, problem.params), dense_ggn(problem)
    (block,) = [b for b in curvature.blocks if b.layer.name == "7"]
    torch.testing.assert_close(block.eigenvalues, exact.diagonal()[block.layer.index])
    columns = torch.randn(problem.layout.size, 2, dtype=torch.float64)
    solved = curvature.solve(columns, 0.1)
    torch.testing.assert_close(curvature.matmat(solved) + 0.1 * solved, columns)
