"""A BERT of Hugging Face: dicts with attention masks, a tokenized Dataset, padding."""

import copy

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, Subset

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import EKFAC, GIF, HIF, InfluenceFunction
from sam_attribution.retraining import LeaveOneOut
from tests.retrained import Run

transformers = pytest.importorskip(
    "transformers", reason="the models are those of transformers, which is not installed"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The trained model predicts"),
]

N, N_ASKED, LENGTH, N_TOKENS = 20, 4, 5, 12
random = np.random.default_rng(0)
N_REAL = random.integers(2, LENGTH + 1, size=N)
N_REAL[0] = LENGTH
MASK = (np.arange(LENGTH) < N_REAL[:, None]).astype(int)
IDS = random.integers(1, N_TOKENS, size=(N, LENGTH)) * MASK
ROWS = {"input_ids": IDS, "attention_mask": MASK}
Y = (IDS[:, 0] + IDS[:, 1] > N_TOKENS).astype(int)
SIZES = {"vocab_size": N_TOKENS, "max_position_embeddings": LENGTH + 3}


def bert(dropout=0.0):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        initializer_range=0.5, **SIZES,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def distilbert(dropout=0.0):
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        dim=4, n_layers=1, n_heads=2, hidden_dim=6, dropout=dropout, seq_classif_dropout=dropout,
        attention_dropout=dropout, initializer_range=0.5, **SIZES,
    )  # fmt: skip
    return transformers.DistilBertForSequenceClassification(config)


def net_of(model, **settings):
    defaults = {"rho": 0.1, "lr": 0.2, "batch_size": 8, "max_epochs": 2, "random_state": 0}
    settings = defaults | {"dtype": "float64", "trajectory": "all"} | settings
    return SAMClassifier(model, **settings)


def taken(rows, places):
    return {name: values[places] for name, values in rows.items()}


def influence_of(net, method, rows=ROWS):
    held_out = ValidationData(taken(rows, slice(N_ASKED)), Y[:N_ASKED])
    return SAMInfluence(net, method=method, validation=held_out).fit(rows, Y)


class Tokenized(Dataset):
    """Items as a tokenizer leaves them: without padding, and with ``labels``."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        real = {name: torch.as_tensor(values[i][: N_REAL[i]]) for name, values in ROWS.items()}
        return {**real, "labels": int(Y[i])}


def padded(items):
    """A batch as long as its longest row."""
    batch = {
        name: nn.utils.rnn.pad_sequence([item[name] for item in items], batch_first=True)
        for name in ROWS
    }
    return {**batch, "labels": torch.tensor([item["labels"] for item in items])}


class TensorRows:
    """Rows to be indexed as one tensor is."""

    def __init__(self, rows):
        self.tensors = {name: torch.as_tensor(values) for name, values in rows.items()}

    def __len__(self):
        return len(self.tensors["input_ids"])

    def __getitem__(self, places):
        return taken(self.tensors, places)


class Logits(nn.Module):
    """A model called as its documentation does."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, rows):
        return self.model(**rows).logits


def run_of(net):
    """The training of a net as a loop on plain torch."""
    module = Logits(copy.deepcopy(net.module)).double()
    y = torch.as_tensor(Y)
    return Run(
        module, TensorRows(ROWS), y, net.trajectory_, lambda w, g: 0.1 * g / g.norm(),
        torch.optim.SGD, {},
    )  # fmt: skip


def vector(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.fixture(scope="module")
def trained():
    return net_of(bert()).fit(ROWS, Y)


@pytest.mark.parametrize("model", [bert, distilbert])
def test_training_equals_a_loop_by_hand(model):
    """With dropout: both passes of a step have the same masks."""
    net = net_of(model(dropout=0.3)).fit(ROWS, Y)
    start = net.trajectory_.states[0].params
    expected = run_of(net).trained(torch.ones(N, dtype=torch.float64))
    assert (vector(expected) - start).norm() > 0.1
    torch.testing.assert_close(vector(net.module_), vector(expected), rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        probabilities = expected(TensorRows(ROWS)[:]).softmax(1).numpy()
    np.testing.assert_allclose(net.predict_proba(ROWS), probabilities, atol=1e-12)


def test_a_tokenized_dataset_is_the_padded_dict(trained):
    net = net_of(bert(), iterator_train__collate_fn=padded)
    held_out = ValidationData(Subset(Tokenized(), range(N_ASKED)))
    found = SAMInfluence(net, method="gif", validation=held_out).fit(Tokenized())
    near = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(vector(found.estimator_.module_), vector(trained.module_), **near)
    expected = influence_of(FrozenEstimator(trained), "gif").scores_
    np.testing.assert_allclose(found.scores_, expected, **near)


def test_no_layer_has_to_be_left_out_of_ekfac(trained):
    """Positions are looked up once for all rows; the approximation is near the exact matrix."""
    net = SAMClassifier.from_module(trained.module_, ROWS, Y)
    exact = InfluenceFunction(curvature="ggn", damping=1.0)
    found = [influence_of(net, each).scores_ for each in (EKFAC(damping=1.0), exact)]
    assert np.corrcoef(*found)[0, 1] > 0.85


@pytest.mark.parametrize("method", ["grad-dot", HIF("fast", damping=8.0)], ids=str)
def test_padding_changes_nothing_and_adopting_neither(trained, method):
    longer = {name: np.pad(values, ((0, 0), (0, 3))) for name, values in ROWS.items()}
    found = [
        influence_of(SAMClassifier.from_module(trained.module_, rows, Y, rho=0.1), method, rows)
        for rows in (ROWS, longer)
    ]
    expected = influence_of(FrozenEstimator(trained), method).scores_
    for each in found:
        np.testing.assert_allclose(each.scores_, expected, rtol=1e-9, atol=1e-13)


def test_gif_is_the_sum_over_steps(trained):
    run = run_of(trained)
    module, rows, y = run.module.eval(), run.X, run.y

    def gradients(w, places):
        nn.utils.vector_to_parameters(w, module.parameters())
        each = [cross_entropy(module(rows[[k]]), y[[k]]) for k in places.tolist()]
        parts = [torch.autograd.grad(loss, tuple(module.parameters())) for loss in each]
        return torch.stack([nn.utils.parameters_to_vector(part) for part in parts])

    recorded = trained.trajectory_
    v = gradients(vector(trained.module_), torch.arange(N_ASKED)).mean(0)
    expected = torch.zeros(N, dtype=torch.float64)
    for state, step in zip(recorded.states, recorded.schedule, strict=False):
        batch = torch.as_tensor(step.indices)
        g = gradients(state.params, batch).mean(0)
        at_ascent = gradients(state.params + 0.1 * g / g.norm(), batch)
        expected[batch] += step.rates[0] / len(batch) * at_ascent @ v
    found = influence_of(FrozenEstimator(trained), GIF(n_checkpoints=None)).scores_
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-8, atol=1e-12)


def test_leaving_a_row_out_is_real_retraining(trained):
    run, left_out = run_of(trained), [1, 7]
    found = influence_of(FrozenEstimator(trained), LeaveOneOut(rows=left_out)).scores_
    ones = torch.ones(N, dtype=torch.float64)
    asked = run.X[:N_ASKED], run.y[:N_ASKED]
    before = run.value(ones, *asked)
    for row in left_out:
        weights = ones.clone()
        weights[row] = 0.0
        assert found[row] == pytest.approx(run.value(weights, *asked) - before, abs=1e-10)
