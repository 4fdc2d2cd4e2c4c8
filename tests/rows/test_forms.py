"""The same rows in any form give the same bits; several inputs give what one array gives."""

from types import SimpleNamespace

import numpy as np
import pytest
import skorch
import torch
from scipy.sparse import csr_array
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import Subset, TensorDataset

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution.methods import GIF, TRAK
from sam_attribution.retraining import LeaveOneOut
from tests.rows.data import OneInput, Rows, TwoInputs, X, Y, net, weights_of

N = 30
LEFT, RIGHT = slice(None, 2), slice(2, None)
FORMS = {
    "array": lambda rows: (X[rows], Y[rows]),
    "Dataset": lambda rows: (Rows(X[rows], Y[rows]), None),
    "dict": lambda rows: ({"a": X[rows]}, Y[rows]),
}
TRAIN, HELD_OUT = slice(N), slice(N, None)
METHODS = [
    "gif",
    pytest.param("hif-fast", marks=pytest.mark.slow),
    pytest.param(TRAK(n_checkpoints=2), marks=pytest.mark.slow),
    pytest.param("unrolled", marks=pytest.mark.slow),
    pytest.param(GIF(n_checkpoints=None), marks=pytest.mark.slow),
]


def found_in(form, method, **settings):
    X_train, y_train = FORMS[form](TRAIN)
    influence = SAMInfluence(net(), method=method, random_state=0, **settings)
    return influence.fit(X_train, y_train)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the SAM Jacobian")
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_scores_do_not_depend_on_the_form(method):
    found = {}
    for form, rows in FORMS.items():
        influence = found_in(form, method, validation=ValidationData(*rows(HELD_OUT)))
        X_query, y_query = rows(HELD_OUT)
        found[form] = [
            influence.scores_,
            influence.attribute(X_query, y_query),
            influence.explain(X_query, y_query, k=1)["score"].to_numpy(),
        ]
    for form in ("Dataset", "dict"):
        for one, other in zip(found["array"], found[form], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_training_again_detection_and_filters_do_not_depend_on_the_form():
    found = {}
    for form, rows in FORMS.items():
        X_train, y_train = rows(TRAIN)
        retrained = found_in(form, LeaveOneOut(), validation=ValidationData(*rows(HELD_OUT)))
        detector = MislabelDetector(net(), random_state=0).fit(X_train, y_train)
        filtered = FilteredClassifier(net(), random_state=0).fit(X_train, y_train)
        found[form] = [
            retrained.scores_,
            detector.scores_,
            filtered.scores_,
            filtered.predict_proba(rows(HELD_OUT)[0]),
        ]
    for form in ("Dataset", "dict"):
        for one, other in zip(found["array"], found[form], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_fraction_and_weights_work_from_the_labels_of_a_dataset():
    weight = np.linspace(0.5, 1.5, N)
    scores = [
        SAMInfluence(net(), random_state=0).fit(*FORMS[form](TRAIN), sample_weight=weight).scores_
        for form in FORMS
    ]
    assert np.isnan(scores[0]).sum() == 6
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


PARTS = {
    "dict": {"a": X[:, LEFT], "b": X[:, RIGHT]},
    "tuple": (X[:, LEFT], X[:, RIGHT]),
    "Dataset of tuples": TensorDataset(
        torch.tensor(X[:, LEFT]), torch.tensor(X[:, RIGHT]), torch.tensor(Y)
    ),
    "sparse and tensor": {"a": csr_array(X[:, LEFT]), "b": torch.tensor(X[:, RIGHT])},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", PARTS)
def test_several_inputs_give_what_one_array_gives(form):
    expected = net(OneInput).fit(X, Y)
    found = net(TwoInputs).fit(PARTS[form], Y)
    torch.testing.assert_close(weights_of(found), weights_of(expected), rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.predict_proba(PARTS[form]), expected.predict_proba(X), 1e-6)
    influence = SAMInfluence(net(TwoInputs), random_state=0).fit(PARTS[form], Y)
    wanted = SAMInfluence(net(OneInput), random_state=0).fit(X, Y)
    np.testing.assert_allclose(influence.scores_, wanted.scores_, rtol=2e-5)
    np.testing.assert_allclose(influence.self_influence(), wanted.self_influence(), rtol=2e-5)


class AsAWhole(TwoInputs):
    """A module with one argument, which it takes apart itself."""

    def forward(self, parts):
        return super().forward(*parts)


def test_a_tuple_goes_as_a_whole_to_a_module_with_one_argument():
    found, expected = net(AsAWhole).fit(PARTS["tuple"], Y), net(TwoInputs).fit(PARTS["tuple"], Y)
    assert torch.equal(weights_of(found), weights_of(expected))
    scores = [
        SAMInfluence(net(module), method="grad-dot", random_state=0).fit(PARTS["tuple"], Y).scores_
        for module in (AsAWhole, TwoInputs)
    ]
    np.testing.assert_array_equal(*scores)


def test_real_targets_of_a_dataset():
    target = X[:, :1] ** 2
    settings = {"max_epochs": 2, "random_state": 0, "lr": 0.01}
    dataset = Rows(X, target.astype(np.float64))
    found = SAMInfluence(SAMRegressor(**settings), random_state=0).fit(dataset)
    expected = SAMInfluence(SAMRegressor(**settings), random_state=0).fit(X, target[:, 0])
    np.testing.assert_array_equal(found.scores_, expected.scores_)


def test_labels_of_any_type_come_from_an_attribute_or_from_the_items():
    names = np.array(["no", "yes"])[Y]
    expected = net().fit(X, names)
    plain, known, wrong = Rows(X, names), Rows(X, names), Rows(X, names)
    known.targets = names
    wrong.targets = names[::-1]  # the items say otherwise
    for dataset in (plain, known, wrong, Subset(Rows(X, names), range(len(X)))):
        found = net().fit(dataset)
        assert found.classes_.tolist() == ["no", "yes"]
        assert torch.equal(weights_of(found), weights_of(expected))
        assert found.score(dataset, names) == expected.score(X, names)


def test_a_held_out_dataset_is_read_as_that_of_training():
    names = np.array(["no", "yes"])[Y]
    scores = [
        net(train_split=predefined_split(held_out)).fit(*data).history[:, "valid_acc"]
        for data, held_out in [
            ((Rows(X, names), None), Rows(X[:9], names[:9])),
            ((X, Y), skorch.dataset.Dataset(X[:9], Y[:9])),
        ]
    ]
    assert scores[0] == scores[1]


class Encoder(nn.Module):
    """Embedding, attention with a mask, the mean over real tokens; in the manner of BERT."""

    def __init__(self, n_tokens=11, width=6):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.classifier = nn.Linear(width, 2)

    def forward(self, input_ids, attention_mask):
        hidden = self.embedding(input_ids)
        padding = ~attention_mask.bool()
        mixed = hidden + self.attention(hidden, hidden, hidden, padding, need_weights=False)[0]
        mask = attention_mask[..., None]
        mean = (mask * mixed).sum(1) / mask.sum(1)
        return SimpleNamespace(logits=self.classifier(mean))


class Tokens(torch.utils.data.Dataset):
    """Token ids as lists, in dicts with ``labels``; their lengths differ unless they are padded."""

    def __init__(self, padded):
        rng = np.random.default_rng(1)
        self.padded = padded
        self.ids = [rng.integers(1, 11, 3 + i % 4).tolist() for i in range(24)]

    def __len__(self):
        return 24

    def __getitem__(self, i):
        ids, n_more = self.ids[i], (8 - len(self.ids[i])) * self.padded
        mask = [1.0] * len(ids) + [0.0] * n_more
        return {
            "input_ids": ids + [0] * n_more,
            "attention_mask": mask,
            "labels": self.ids[i][0] % 2,
        }


def padded_to_the_longest(items):
    def padded(name, kind):
        rows = [torch.tensor(item[name], dtype=kind) for item in items]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    return {
        "input_ids": padded("input_ids", torch.long),
        "attention_mask": padded("attention_mask", torch.float64),
        "labels": torch.tensor([item["labels"] for item in items]),
    }


@pytest.mark.slow
def test_padding_changes_no_score_of_a_module_with_an_attention_mask():
    settings = {"dtype": "float64", "batch_size": 6, "max_epochs": 2}
    scores = []
    for padded, loader in [
        (True, {}),
        (False, {"iterator_train__collate_fn": padded_to_the_longest}),
    ]:
        influence = SAMInfluence(
            net(Encoder, **settings, **loader),
            validation=ValidationData(Tokens(padded)),
            random_state=0,
        ).fit(Tokens(padded))
        scores.append(influence.scores_)
    assert abs(scores[0]).max() > 1e-3
    np.testing.assert_allclose(*scores, rtol=1e-7, atol=1e-12)


@pytest.mark.slow
def test_the_form_of_the_output_does_not_matter():
    class Wrapped(OneInput):
        wrap = staticmethod(lambda logits: SimpleNamespace(logits=logits))

        def forward(self, a):
            return self.wrap(super().forward(a))

    class InATuple(Wrapped):
        wrap = staticmethod(lambda logits: (logits,))

    class InADict(Wrapped):
        wrap = staticmethod(lambda logits: {"logits": logits})

    expected = SAMInfluence(net(), random_state=0).fit(X, Y).scores_
    for module in (Wrapped, InATuple, InADict):
        found = SAMInfluence(net(module), random_state=0).fit(X, Y)
        np.testing.assert_array_equal(found.scores_, expected)
