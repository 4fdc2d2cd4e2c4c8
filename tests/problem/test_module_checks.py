"""Modules that are random, couple rows, or are no function of their weights, and those that are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_attribution.problem import Problem
from tests.models import SmallCNN


class Net(nn.Module):
    """A hidden layer, what a test does to it, and a head."""

    def __init__(self, hidden):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head, self.hidden = nn.Linear(6, 8), nn.Linear(8, 3), hidden

    def forward(self, X):
        return self.head(self.hidden(torch.tanh(self.layer(X))))


def problem_of(module, X=None, n=12):
    X = torch.randn(n, 6, generator=torch.Generator().manual_seed(0)) if X is None else X
    return Problem(module=module.eval(), X=X, y=torch.arange(len(X)) % 3, n_classes=3)


class Remembering(nn.Module):
    """Adds up what it was given."""

    total = 0.0

    def forward(self, X):
        self.total = self.total + X.detach().mean()
        return X * self.total


class FallsFlat(nn.Module):
    """Attention over the rows: torch's default has the batch second."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, X):
        return self.attention(X[:, None], X[:, None], X[:, None])[0][:, 0]


@pytest.mark.parametrize(
    ("hidden", "cause"),
    [
        (lambda h: F.dropout(h, 0.3), "is random"),
        (lambda h: h + torch.as_tensor(np.random.randn()).to(h), "is random"),
        (Remembering(), "remembers earlier calls"),
        (lambda h: h - h.mean(0), "couples the rows"),
        (lambda h: h / h.max(), "couples the rows"),
        (lambda h: h if len(h) > 1 else h / 0, "couples the rows"),  # as std(0) of one row does
        (lambda h: h.sort(0)[0], "couples the rows"),
        (lambda h: h.flip(0), "couples the rows"),
        (
            lambda h: h.squeeze(),
            r"a single row an output of shape \(3,\) instead of \(1, 3\).*flatten\(1\)",
        ),
        (FallsFlat(), "couples the rows"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_forward_pass_that_is_random_or_couples_rows_is_named(hidden, cause, dtype):
    module = Net(hidden).to(getattr(torch, dtype))
    X = torch.randn(12, 6, dtype=getattr(torch, dtype))
    with pytest.raises(ValueError, match=f"module Net gives .*{cause}"):
        problem_of(module, X)


class Sequence(nn.Module):
    """A recurrent net, or attention, over the six numbers of a row."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(4, 3)

    def forward(self, X):
        steps = X[:, :, None].expand(-1, -1, 4)
        found = self.layer(steps)
        return self.head((found[0] if isinstance(found, tuple) else found)[:, -1])


class Half(nn.Module):
    """It computes in float32 whatever it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 3))

    def forward(self, X):
        return 1e4 + X.float() @ self.weight.float()


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)),
        nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.Linear(8, 3)),
        Sequence(nn.LSTM(4, 4, batch_first=True)),
        Sequence(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
        Net(lambda h: h * torch.nan),  # diverged
        Net(lambda h: torch.where(h > 0, torch.inf, h)),
        Net(lambda h: 0 * h),
        Half(),
        nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)),
    ],
)
def test_other_modules_raise_no_alarm(module):
    X = torch.randn(12, 6)
    assert problem_of(module, X).n_classes == 3
    assert problem_of(module, X[:1]).n_classes == 3  # nothing to compare
    assert problem_of(module, X[:1].expand(5, 6)).n_classes == 3


def test_rows_of_whole_numbers_raise_no_alarm():
    module = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 3))
    problem_of(module, torch.randint(9, (12, 5)))


def test_the_check_is_made_once_and_leaves_random_streams_and_module_alone():
    calls = []
    module = Net(nn.Dropout())
    module.register_buffer("seen", torch.zeros(()))
    module.register_forward_pre_hook(lambda m, _: calls.append(m.seen.add_(1)))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    problem = problem_of(module)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert module.seen == 1  # the rule for the batch size calls the module itself
    n_calls = len(calls)
    assert n_calls > 4
    replace(problem, rho=0.1)
    problem.part(torch.arange(3))
    problem.reweighted(torch.ones(12))
    assert len(calls) == n_calls + 3  # that rule again


class Recomputing(torch.autograd.Function):
    """A checkpointing of one's own: the backward pass calls the layer again."""

    @staticmethod
    def forward(ctx, layer, X):
        ctx.layer = layer
        return layer(X)

    @staticmethod
    def backward(ctx, signal):
        return None, signal @ ctx.layer.weight


class OwnCheckpointing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, X):
        return Recomputing.apply(self.second, torch.tanh(self.first(X)))


class WeightElsewhere(nn.Module):
    """Its weight is read from a list, where no functional call can put another."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3))
        self.parts = [self.weight]

    def forward(self, X):
        return X @ self.parts[0]


@pytest.mark.parametrize("module", [OwnCheckpointing, WeightElsewhere])
def test_a_module_that_uses_other_weights_than_those_it_is_given_is_named(module):
    with pytest.raises(ValueError, match=r"does not compute with the weights that it is called"):
        problem_of(module())


def test_outputs_alone_do_not_ask_for_a_gradient():
    settings = {"X": torch.randn(12, 6), "y": torch.arange(12) % 3, "n_classes": 3}
    Problem(module=OwnCheckpointing().eval(), differentiated=False, **settings)
    with pytest.raises(ValueError, match="does not compute with the weights"):
        Problem(module=WeightElsewhere().eval(), differentiated=False, **settings)


class WithInput(nn.Linear):
    """In evaluation mode alone it returns more than logits."""

    def forward(self, X):
        logits = super().forward(X)
        return logits if self.training else (logits, X)


def test_numbers_beside_the_logits_are_not_read_as_logits():
    with pytest.raises(TypeError, match="must return a tensor and nothing else, got a tuple"):
        problem_of(WithInput(6, 3))


def test_no_rows_raise_no_alarm():
    problem = problem_of(Net(nn.Tanh())).part(torch.arange(0))
    assert replace(problem, module=Net(nn.Tanh()).eval()).X.shape == (0, 6)


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("odd", [{"scale_grad_by_freq": True}, {"max_norm": 1.0}])
def test_an_embedding_that_is_no_function_of_its_weight_is_named(layer, odd):
    module = nn.Sequential(layer(5, 4, **odd), nn.Flatten(), nn.LazyLinear(3))
    module(torch.randint(5, (2, 2)))
    with pytest.raises(ValueError, match=rf"{layer.__name__} at '0' with {next(iter(odd))}="):
        problem_of(module, torch.randint(5, (6, 2)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_script_module_is_named():
    traced = torch.jit.trace(SmallCNN().eval(), torch.zeros(2, 1, 6, 6))
    with pytest.raises(ValueError, match=r"module is a torch\.jit\.ScriptModule"):
        problem_of(traced)
    with pytest.raises(ValueError, match=r"module has a torch\.jit\.ScriptModule at '0'"):
        problem_of(nn.Sequential(traced, nn.Linear(3, 3)))
