"""Modules that torch trains in a way of its own: wrapped, checkpointed, sparse, lazy, frozen."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.retraining import LeaveOneOut
from tests.models import tabular

X, Y, WEIGHT = tabular()
TOKENS = np.random.default_rng(0).integers(0, 9, (40, 5))


def net(module, **settings):
    defaults = {"max_epochs": 3, "batch_size": 8, "random_state": 0, "dtype": "float64", "rho": 0.1}
    return SAMClassifier(module, **defaults | settings)


def mlp(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*(layers or (nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))))


def weights_of(net):
    return torch.cat([p.detach().reshape(-1) for p in net.module_.parameters()])


class Checkpointed(nn.Module):
    """A part whose activations are computed again in the backward pass, in one of two ways."""

    def __init__(self, reentrant=None, part=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.part = nn.Sequential(nn.Linear(8, 8), part or nn.Dropout(0.2), nn.Tanh())
        self.reentrant = reentrant

    def forward(self, X):
        hidden = self.first(X)
        if self.reentrant is None:
            return self.last(self.part(hidden))
        return self.last(checkpoint(self.part, hidden, use_reentrant=self.reentrant))


@pytest.mark.slow
@pytest.mark.parametrize("reentrant", [False, True])
def test_training_with_activation_checkpointing_is_the_same_to_the_bit(reentrant):
    plain, saving = (net(Checkpointed(kind)).fit(X, Y) for kind in (None, reentrant))
    assert torch.equal(weights_of(plain), weights_of(saving))
    assert all(
        torch.equal(a.params, b.params)
        for a, b in zip(plain.replay(X, Y), saving.replay(X, Y), strict=True)
    )


def scores(module, method, X=X, **settings):
    return SAMInfluence(net(module, **settings), method=method, random_state=0).fit(X, Y).scores_


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "reentrant"),
    [("gif", False), ("gif", True), ("hif-fast", False), ("trak", False), ("ekfac", True)],
)
def test_scores_do_not_depend_on_activation_checkpointing(method, reentrant):
    expected = scores(Checkpointed(), method)
    np.testing.assert_allclose(scores(Checkpointed(reentrant), method), expected, rtol=1e-9)


class Demanding(Checkpointed):
    """Without this the reentrant kind gives no gradients to what comes first in a module."""

    def forward(self, X):
        return super().forward(X.detach().requires_grad_())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["loo", "unrolled", "hif-fast"])
def test_a_forward_pass_may_ask_for_gradients(method):
    expected = scores(Checkpointed(), method, max_epochs=1)
    found = scores(Demanding(True), method, max_epochs=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "reentrant"),
    [
        ("datainf", False),
        ("if", True),
        ("loo", False),
        ("relatif", True),
        ("tracin", False),
        ("unrolled", False),
        ("unrolled", True),
    ],
)
def test_neither_do_those_of_the_other_methods(method, reentrant):
    expected = scores(Checkpointed(), method, max_epochs=1)
    found = scores(Checkpointed(reentrant), method, max_epochs=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_torch_checkpoints_as_before_outside_of_our_passes():
    scores(Checkpointed(False), "grad-dot")
    calls = []
    layer = nn.Linear(6, 3)
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    checkpoint(layer, torch.ones(2, 6), use_reentrant=False).sum().backward()
    assert len(calls) == 2


@pytest.mark.slow
def test_batch_norm_that_is_computed_twice_is_named():
    """torch moves the running statistics in the forward pass and in the recomputation."""
    moved = r"changes its buffer 'part.1.running_mean' in the backward"
    with pytest.raises(ValueError, match=moved):
        scores(Checkpointed(False, nn.BatchNorm1d(8)), "unrolled")
    with pytest.warns(AttributionWarning, match=moved):
        scores(Checkpointed(False, nn.BatchNorm1d(8)), LeaveOneOut(rows=[3]))


@pytest.mark.parametrize("method", ["gif", pytest.param("unrolled", marks=pytest.mark.slow)])
def test_a_data_parallel_module_counts_as_the_module_inside(method):
    expected = scores(mlp(), method)
    np.testing.assert_array_equal(scores(nn.DataParallel(mlp()), method), expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gif", "hif-fast", "unrolled"])
def test_a_compiled_module_counts_as_the_module_inside(method):
    norm = (nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    expected = scores(mlp(*norm), method)
    settings = {"compile": True, "compile__backend": "eager"}
    np.testing.assert_allclose(scores(mlp(*norm), method, **settings), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "method", ["gif", "hif-fast", "ekfac", pytest.param("unrolled", marks=pytest.mark.slow)]
)
def test_gradients_that_are_stored_as_sparse_ones_change_no_score(method):
    def module(sparse):
        torch.manual_seed(0)
        return mlp(nn.Embedding(9, 4, sparse=sparse), nn.Flatten(), nn.Linear(20, 3))

    found, expected = (scores(module(sparse), method, TOKENS) for sparse in (True, False))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: mlp(nn.LazyLinear(8), nn.LazyLinear(3)), "lazy parameter, '0.weight'"),
        (lambda: nn.Linear(6, 3, dtype=torch.cfloat), "complex parameter, 'weight', whose imag"),
        (lambda: mlp().requires_grad_(False), "no parameter to train: all are frozen"),
        (lambda: mlp(nn.ReLU()), "must have parameters to train"),
    ],
)
def test_a_module_that_cannot_be_trained_is_named(module, message):
    with pytest.raises(ValueError, match=f"module .*{message}"):
        net(module()).fit(X, Y)
    with pytest.raises(ValueError, match=f"module .*{message}"):
        scores(module(), "gif")


@pytest.mark.parametrize(
    ("layer", "dtype"), [(nn.Conv1d(1, 2, 6), "uint8"), (nn.Linear(6, 3), "int64")]
)
def test_whole_numbers_that_the_module_cannot_take_are_named(layer, dtype):
    rows = (100 + 10 * X).astype(dtype).reshape(40, 1, 6)
    with pytest.raises(
        ValueError, match=rf"X holds whole numbers \({dtype}\).*astype\('float32'\)"
    ):
        net(mlp(layer, nn.Flatten())).fit(rows, Y)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"criterion__reduction": "none"}, ValueError, "criterion__reduction='none'"),
        ({"criterion": nn.CrossEntropyLoss(reduction="none")}, ValueError, "criterion__reduction"),
        (
            {"criterion__weight": torch.tensor([1, 2, 3])},
            TypeError,
            "criterion__weight must hold floating-point numbers, got torch.int64",
        ),
    ],
)
def test_a_criterion_that_cannot_train_is_named(settings, error, message):
    with pytest.raises(error, match=message):
        net(mlp(), **settings).fit(X, Y)


class Cut(nn.Module):
    """A layer whose output has lost its graph, always or in evaluation mode."""

    def __init__(self, how, n_outputs=3):
        super().__init__()
        self.layer, self.how = nn.Linear(6, n_outputs), how

    def forward(self, X):
        if self.how == "detach":
            return self.layer(X).detach()
        if self.how == "inference":
            with torch.inference_mode():
                return self.layer(X)
        trained = self.how == "evaluation" and self.training and torch.is_grad_enabled()
        with torch.set_grad_enabled(trained):
            return self.layer(X)


class CutLoss(nn.CrossEntropyLoss):
    def forward(self, output, target):
        return super().forward(output.detach(), target)


@pytest.mark.parametrize("how", ["detach", "no_grad", "inference"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_a_module_without_a_graph_is_named(how, weight):
    message = "module Cut gives an output that does not depend on its parameters for autograd"
    with pytest.raises(ValueError, match=message):
        net(Cut(how)).fit(X, Y, weight)
    with pytest.raises(ValueError, match=message):
        SAMRegressor(Cut(how, 1), max_epochs=1).fit(X, WEIGHT, weight)
    with pytest.raises(ValueError, match="criterion CutLoss gives a loss that does not depend"):
        net(mlp(), criterion=CutLoss).fit(X, Y)


@pytest.mark.parametrize("method", ["gif", "hif", "unrolled", "trak"])
def test_a_module_without_a_graph_in_evaluation_mode_is_named(method):
    with pytest.raises(ValueError, match="module Cut gives an output in evaluation mode that"):
        scores(Cut("evaluation"), method)
