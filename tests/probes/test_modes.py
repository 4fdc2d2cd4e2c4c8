"""Modules of many kinds: the mode that is chosen, and that its answer is right."""

import pytest
import torch
from torch import nn

from sam_attribution.curvature import GaussNewton, Hessian
from sam_attribution.curvature._hessian import column_by_column, columns_together
from sam_attribution.probes import Probe, training_scores
from sam_attribution.probes._tangents import MODES, double_backward, forward_mode, tangent_mode
from sam_attribution.problem import Problem, differentiable_kernels
from tests.models import row_gradients


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, X):
        return self.head(self.layer(X).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(8, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, X):
        return self.head(self.layer(X)[0][:, -1])


class NoForwardMode(torch.autograd.Function):
    """x ** 2 with a backward that can be differentiated again, and no jvp."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * ctx.saved_tensors[0]


class OnceDifferentiable(NoForwardMode):
    """As above, and not even a second derivative."""

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled():
            raise RuntimeError("no second derivative")
        return 2 * grad * ctx.saved_tensors[0]


class Square(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 4), nn.Linear(4, 3)
        self.function = function

    def forward(self, X):
        return self.outer(self.function.apply(self.inner(X[:, 0])))


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.InstanceNorm1d(5, affine=True), nn.Flatten(), nn.Linear(40, 3))


MODULES = {
    "instance norm": (Normed, forward_mode),
    "attention": (Attention, forward_mode),
    "lstm": (Recurrent, forward_mode),
    "no forward mode": (lambda: Square(NoForwardMode), double_backward),
    "no second derivative": (lambda: Square(OnceDifferentiable), MODES[-1]),
}


def problem_of(build, dtype=torch.float64):
    torch.manual_seed(0)
    X = torch.randn(7, 5, 8).to(dtype)
    y = torch.arange(7) % 3
    return Problem(module=build().to(dtype).eval(), X=X, y=y, n_classes=3, batch_size=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mode_that_works_gives_the_row_gradients(name, dtype):
    build, expected_mode = MODULES[name]
    problem = problem_of(build, dtype)
    directions = torch.randn(problem.layout.size, 2, dtype=dtype)
    probe = Probe(problem.params, directions, problem.buffers)
    assert tangent_mode(problem, probe) is expected_mode
    scores = training_scores(problem, [probe])
    gradients = row_gradients(problem, problem.params, problem.buffers)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {}
    torch.testing.assert_close(scores, gradients @ directions / 7, **tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_agree(mode):
    problem = problem_of(Attention)
    directions = torch.randn(problem.layout.size, 2, dtype=torch.float64)
    probe = Probe(problem.params, directions, problem.buffers)
    with differentiable_kernels(problem.module):
        found, expected = (m(problem, probe, problem.X) for m in (mode, forward_mode))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("build", [Attention, Recurrent])
def test_second_derivatives_of_fused_layers(build):
    problem = problem_of(build, torch.float32)
    wide = problem_of(build)
    v = torch.randn(problem.layout.size)
    found = Hessian(problem, problem.params).matvec(v)
    step = 1e-5 * v.double()
    plus = wide.mean_gradient(wide.params + step, wide.buffers)
    minus = wide.mean_gradient(wide.params - step, wide.buffers)
    torch.testing.assert_close(found.double(), (plus - minus) / 2e-5, rtol=1e-3, atol=1e-5)


def test_global_switches_are_put_back():
    problem = problem_of(Recurrent)
    torch.backends.mha.set_fastpath_enabled(True)
    onednn = torch.backends.mkldnn.enabled
    training_scores(problem, [Probe(problem.params, problem.params[:, None], problem.buffers)])
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled == onednn


def test_a_module_that_cannot_be_differentiated_is_named():
    class NotAtAll(NoForwardMode):
        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError("no derivative")

    problem = problem_of(lambda: Square(NotAtAll))
    with pytest.raises(ValueError, match=r"Square cannot be differentiated.*no derivative"):
        training_scores(problem, [Probe(problem.params, problem.params[:, None], {})])


class PartlyConstant(nn.Module):
    """Its scale is constant to torch: computed under no_grad."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, X):
        hidden = torch.tanh(self.inner(X[:, 0]))
        with torch.no_grad():
            scale = torch.stack([3 * hidden.sin(), self.inner.weight.norm() + hidden]).sum(0)
        return self.outer(hidden * scale)


class Padded(nn.Module):
    """No gradient reaches the entry of the padding, though it is added up with the others."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(4, 3, padding_idx=-2), nn.Linear(3, 3)
        nn.init.normal_(self.table.weight)

    def forward(self, X):
        return self.head(torch.tanh(self.table(X[:, 0].abs().mul(3).long() % 4).sum(1)))


@pytest.mark.parametrize("module", [PartlyConstant, Padded])
def test_what_has_no_gradient_is_constant_in_forward_mode(module):
    problem = problem_of(module)
    directions = torch.randn(problem.layout.size, 2, dtype=torch.float64)
    probe = Probe(problem.params, directions, problem.buffers)
    assert tangent_mode(problem, probe) is forward_mode
    gradients = row_gradients(problem, problem.params, problem.buffers)
    expected = gradients @ directions / 7
    with torch.no_grad():
        found = training_scores(problem, [probe])
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    curvature, rows = GaussNewton(problem, problem.params), torch.arange(7)
    with torch.no_grad():
        together = columns_together(curvature, rows, directions)
    torch.testing.assert_close(together, column_by_column(curvature, rows, directions))
