"""Layers that compute, in evaluation mode, with what they made from their weights before."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.problem import Problem


class LoRA(nn.Linear):
    """A frozen weight and a low-rank one, which evaluation mode adds to it."""

    def __init__(self, n_in, n_out, merges=True):
        super().__init__(n_in, n_out)
        self.weight.requires_grad = False
        self.lora_A = nn.Parameter(torch.randn(2, n_in))
        self.lora_B = nn.Parameter(torch.zeros(n_out, 2))
        self.merges, self.merged = merges, False

    def train(self, mode=True):
        super().train(mode)
        if self.merges and self.merged == mode:
            sign = -1 if mode else 1
            self.weight.data += sign * (self.lora_B @ self.lora_A).detach()
            self.merged = not mode
        return self

    def forward(self, X):
        output = super().forward(X)
        return output if self.merged else output + X @ self.lora_A.T @ self.lora_B.T


class Doubled(nn.Linear):
    """Twice its weight, which it may keep in evaluation mode."""

    kept = None

    def weight_now(self):
        return 2 * self.weight

    def forward(self, X):
        weight = self.weight_now() if self.kept is None else self.kept
        return F.linear(X, weight, self.bias)


class KeptByEval(Doubled):
    def train(self, mode=True):
        super().train(mode)
        self.kept = None if mode else self.weight_now()
        return self


class KeptWithoutGraph(KeptByEval):
    def weight_now(self):
        return 2 * self.weight if self.training else 2 * self.weight.detach()


class KeptByPass(Doubled):
    """It keeps a weight from its first pass to the next one in training mode."""

    def forward(self, X):
        if self.training:
            self.kept = None
        elif self.kept is None:
            self.kept = self.weight_now()
        return super().forward(X)


class KeptInBuffer(Doubled):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("doubled", self.weight.detach().clone())

    def train(self, mode=True):
        super().train(mode)
        if not mode:
            self.doubled.copy_(2 * self.weight.detach())
        return self

    def weight_now(self):
        return 2 * self.weight if self.training else self.doubled


KEEPING = [LoRA, KeptByEval, KeptWithoutGraph, KeptByPass, KeptInBuffer]
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def network(layer, alone=False):
    torch.manual_seed(0)
    if alone:
        return layer(6, 3).eval()
    module = nn.Sequential(layer(6, 8), nn.Tanh(), nn.Linear(8, 3))
    module(X)
    module.eval()(X)
    return module


def problem_of(module, **settings):
    return Problem(module=module, X=X, y=torch.arange(12) % 3, n_classes=3, **settings)


@pytest.mark.parametrize("layer", KEEPING)
@pytest.mark.parametrize("differentiated", [True, False])
def test_a_layer_that_keeps_what_it_made_from_its_weights_is_named(layer, differentiated):
    named = rf"does not compute with its parameters in eval.*\({layer.__name__} at '0'\).*merge_w"
    with pytest.raises(ValueError, match=named):
        problem_of(network(layer), differentiated=differentiated)
    with pytest.raises(ValueError, match=r"module \w+ does not compute with its parameters in eva"):
        problem_of(network(layer, alone=True), differentiated=differentiated)


def without_bias(*sizes):
    return KeptByEval(*sizes, bias=False)


@pytest.mark.parametrize("differentiated", [True, False])
def test_no_parameter_at_all_may_be_read(differentiated):
    with pytest.raises(ValueError, match="does not compute with its parameters in evaluation"):
        problem_of(network(without_bias, alone=True), differentiated=differentiated)


@pytest.mark.slow
def test_a_net_that_merges_is_refused_and_works_without_merging():
    """The scores are those of two layers without a state."""

    def scores(merges):
        net = SAMClassifier(
            network(lambda *sizes: LoRA(*sizes, merges=merges)), max_epochs=2, random_state=0,
        )  # fmt: skip
        held_out = ValidationData(X.numpy(), np.arange(12) % 3)
        influence = SAMInfluence(net, method="grad-dot", validation=held_out)
        influence.fit(X.numpy(), np.arange(12) % 3)
        return influence.scores_, influence.estimator_.module_

    with pytest.raises(ValueError, match=r"LoRA at '0'"):
        scores(merges=True)
    found, module = scores(merges=False)
    layer, head, targets = module[0], module[2], torch.arange(12) % 3

    def losses(A, B, weight, bias, last, last_bias):
        hidden = torch.tanh(F.linear(X, layer.weight + B @ A, bias))
        return F.cross_entropy(F.linear(hidden, last, last_bias), targets, reduction="none")

    w = (layer.lora_A, layer.lora_B, layer.weight, layer.bias, head.weight, head.bias)
    gradients = torch.autograd.functional.jacobian(losses, tuple(p.detach() for p in w))
    kept = [g.flatten(1) for g, p in zip(gradients, w, strict=True) if p.requires_grad]
    rows = torch.cat(kept, 1)
    expected = (rows @ rows.mean(0)).numpy() / 12
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6 * abs(found).max())


NORMS = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", NORMS)
def test_parametrized_layers_are_called_with_the_weights_they_are_given(norm):
    problem = problem_of(network(lambda *sizes: NORMS[norm](nn.Linear(*sizes))))
    other = problem.params + 0.1 * torch.randn(
        problem.params.shape, generator=torch.Generator().manual_seed(1)
    )
    given = problem.logits(other, problem.buffers, X)
    own = network(lambda *sizes: NORMS[norm](nn.Linear(*sizes)))
    own.load_state_dict({**own.state_dict(), **problem.layout.unflatten(other)})
    torch.testing.assert_close(given, own(X))
