"""A language model of Hugging Face: scores of sequences and of tokens against explicit sums."""

import copy

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution import SAMInfluence, SAMNet, ValidationData
from sam_attribution.methods import GIF, InfluenceFunction
from sam_attribution.retraining import LeaveOneOut
from tests.retrained import Run

transformers = pytest.importorskip(
    "transformers", reason="the models are those of transformers, which is not installed"
)
pytestmark = pytest.mark.slow

N, N_ASKED, LENGTH, N_WORDS, START = 16, 3, 5, 7, 6
random = np.random.default_rng(0)
N_REAL = random.integers(1, LENGTH + 1, size=N)
WORDS = random.integers(N_WORDS - 1, size=(N, LENGTH))
REAL = np.arange(LENGTH) < N_REAL[:, None]
Y = np.where(REAL, WORDS, -100)
X = np.where(REAL, np.column_stack([np.full(N, START), WORDS[:, :-1]]), 0)
ASKED = X[:N_ASKED], Y[:N_ASKED]


class LanguageModel(nn.Module):
    """Logits (n, words, places) of a GPT-2, whose head is its table of words."""

    def __init__(self, dropout=0.0, attention="sdpa"):
        super().__init__()
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            vocab_size=N_WORDS, n_positions=LENGTH, n_embd=4, n_layer=1, n_head=2, n_inner=6,
            embd_pdrop=dropout, resid_pdrop=dropout, attn_pdrop=dropout, initializer_range=0.4,
            bos_token_id=START, eos_token_id=0, attn_implementation=attention,
        )  # fmt: skip
        self.gpt = transformers.GPT2LMHeadModel(config)

    def forward(self, tokens):
        return self.gpt(tokens).logits.transpose(1, 2)


def net_of(module, **settings):
    defaults = {"rho": 0.1, "lr": 0.3, "batch_size": 6, "max_epochs": 2, "random_state": 0}
    settings = defaults | {"dtype": "float64", "trajectory": "all"} | settings
    return SAMNet(module, criterion=nn.CrossEntropyLoss, **settings)


def by_hand(logits, y):
    """Mean of the loss of a row's own places."""
    real, log_p = y >= 0, logits.log_softmax(1)
    picked = log_p.gather(1, y.clamp(min=0)[:, None])[:, 0]
    return -(picked * real).sum(1) / real.sum(1)


def run_of(net):
    """The training of a net as a loop on plain torch, with attention as plain products."""
    module = LanguageModel(net.module.gpt.config.resid_pdrop, "eager").double()
    return Run(
        module, torch.as_tensor(X), torch.as_tensor(Y), net.trajectory_,
        lambda w, g: 0.1 * g / g.norm(), torch.optim.SGD, {}, loss=by_hand, asked=by_hand,
        share=lambda y: torch.ones(len(y)),
    )  # fmt: skip


def vector(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


def gradients(module, w, X, y):
    """Gradient of every row's loss at the weights `w`, (n, n_params)."""
    module = copy.deepcopy(module).eval()
    nn.utils.vector_to_parameters(w, module.parameters())
    rows = zip(torch.as_tensor(X).split(1), torch.as_tensor(y).split(1), strict=True)
    losses = [by_hand(module(row), target).sum() for row, target in rows]
    parts = [torch.autograd.grad(loss, tuple(module.parameters())) for loss in losses]
    return torch.stack([nn.utils.parameters_to_vector(part) for part in parts])


def single_words(y):
    """Targets with one word alone, and the place of each."""
    places = np.argwhere(y >= 0)
    alone = np.full((len(places), y.shape[1]), -100)
    alone[np.arange(len(places)), places[:, 1]] = y[tuple(places.T)]
    return places, alone


@pytest.fixture(scope="module")
def trained():
    return net_of(LanguageModel()).fit(X, Y)


def influence_of(net, method):
    held_out = ValidationData(*ASKED)
    return SAMInfluence(net, method=method, validation=held_out).fit(X, Y)


def test_scores_of_words_are_the_sum_over_steps_and_their_mean_is_the_sequence_s(trained):
    found = influence_of(FrozenEstimator(trained), GIF(n_checkpoints=None))
    module, recorded = run_of(trained).module, trained.trajectory_
    places, alone = single_words(ASKED[1])
    v = gradients(module, vector(trained.module_), ASKED[0][places[:, 0]], alone)
    expected = torch.zeros(len(places), N, dtype=torch.float64)
    for state, step in zip(recorded.states, recorded.schedule, strict=False):
        batch = torch.as_tensor(step.indices)
        rows = X[step.indices], Y[step.indices]
        g = gradients(module, state.params, *rows).mean(0)
        at_ascent = gradients(module, state.params + 0.1 * g / g.norm(), *rows)
        expected[:, batch] += step.rates[0] / len(batch) * v @ at_ascent.T
    each = found.attribute(*ASKED, per="token")
    near = {"rtol": 1e-8, "atol": 1e-12}
    np.testing.assert_allclose(each[tuple(places.T)], expected.numpy(), **near)
    assert np.isnan(each).any()
    np.testing.assert_allclose(np.nanmean(each, axis=1), found.attribute(*ASKED), **near)
    np.testing.assert_allclose(found.scores_, found.attribute(*ASKED).mean(0), **near)


def test_influence_functions_take_the_hessian_of_tied_weights(trained):
    found = influence_of(FrozenEstimator(trained), InfluenceFunction(damping=2.0)).scores_
    module, w = run_of(trained).module.eval(), vector(trained.module_)
    named = dict(module.named_parameters())

    def mean_loss(w):
        parts = w.split([p.numel() for p in named.values()])
        values = [part.view_as(p) for part, p in zip(parts, named.values(), strict=True)]
        logits = torch.func.functional_call(
            module, dict(zip(named, values, strict=True)), (torch.as_tensor(X),)
        )
        return by_hand(logits, torch.as_tensor(Y)).mean()

    H = torch.autograd.functional.hessian(mean_loss, w)
    damped = H + 2.0 * torch.eye(len(w), dtype=w.dtype)
    v = gradients(module, w, *ASKED).mean(0)
    expected = gradients(module, w, X, Y) @ torch.linalg.solve(damped, v) / N
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-9)


def test_leaving_a_sequence_out_is_real_retraining():
    """With dropout, of whose masks both passes of a step have the same."""
    net = net_of(LanguageModel(dropout=0.2)).fit(X, Y)
    left_out, run = [0, 5], run_of(net)
    ones = torch.ones(N, dtype=torch.float64)
    torch.testing.assert_close(
        vector(net.module_), vector(run.trained(ones)), rtol=1e-10, atol=1e-12
    )
    found = influence_of(FrozenEstimator(net), LeaveOneOut(rows=left_out)).scores_
    asked = [torch.as_tensor(each) for each in ASKED]
    before = run.value(ones, *asked)
    for row in left_out:
        weights = ones.clone()
        weights[row] = 0.0
        assert found[row] == pytest.approx(run.value(weights, *asked) - before, abs=1e-10)
