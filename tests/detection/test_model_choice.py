"""Choice of the noise model and of trust, on likelihoods made by hand; means over splits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sam_attribution.detection._model_choice import ModelChoice
from sam_attribution.detection._split_evidence import SignalTables

TABLES = torch.tensor([[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.1, 0.9]]]).log()


class HandMade:
    """Evidence of two rows trained on and one held out, with means of likelihoods as given."""

    seconds, log_likelihood_by_frequency = 0.0, torch.full((100,), -9.0)

    def __init__(self, as_given, clean, noisy, agreement=0.0, table=TABLES[0]):
        wave = torch.tensor([1.0, -1.0]).repeat(50)  # of standard error 0.1
        self.likelihoods = torch.stack(
            [mean + wave * k for k, mean in enumerate((as_given, clean, noisy))]
        )
        self.agreement, self.table = agreement, table

    def result(self, *, by_em, trust):
        self.asked = by_em, trust
        trained = SignalTables(self.table, self.table[:, :1])
        return trained, SignalTables(self.table[:1] - 1, self.table[:1, :1] - 1)


def choice(*evidence, own, trusted="auto"):
    for number, each in enumerate(evidence):
        held_out = np.arange(0) if own else np.array([2 + number])
        split = SimpleNamespace(train=np.array([0, 1]), held_out=held_out, y=[0])
        each.trained = SimpleNamespace(split=split)
    return ModelChoice(evidence, trusted)


@pytest.mark.parametrize(
    ("means", "agreement", "own", "trusted"),
    [
        ((0, 0, 0), 3, True, True),
        ((0, 0, -0.1), -3, True, True),
        ((0, -0.1, 0), -3, True, False),
        ((0, 0, 0), 2, True, False),
        ((0, 1, 0), 0, True, True),
        ((0, 1, 0.9), 0, True, False),
        ((0.9, 1, 0), 0, True, False),
        ((0, 1, 0), 3, False, False),
    ],
)
def test_trust(means, agreement, own, trusted):
    evidence = HandMade(*means, agreement=agreement)
    result = choice(evidence, own=own)
    assert evidence.asked[1] == trusted
    assert result.component_names == ["network", "classes", "trusted"][: 2 + trusted]
    assert result.diagnostics()["validation"].item() == ("trusted" if trusted else "as noisy")


@pytest.mark.parametrize(
    ("means", "agreement", "own", "by_em"),
    [
        ((0, 0.1, -1), 3, True, True),
        ((0, -1, 1), 3, True, False),
        ((0, 0.1, -1), 0, True, True),
        ((0, -1, 1), 0, True, True),
        ((0, -1, -1), 0, True, False),
        ((0, 0.1, -1), 0, False, False),
        ((0, -1, 1), 0, False, True),
    ],
)
def test_em_is_taken_if_it_makes_the_held_out_labels_more_probable(means, agreement, own, by_em):
    evidence = HandMade(*means, agreement=agreement)
    result = choice(evidence, own=own)
    assert evidence.asked[0] == by_em
    assert result.diagnostics()["noise_model"].item() == ("em" if by_em else "as given")


def test_several_splits_are_combined_by_their_geometric_mean():
    result = choice(*(HandMade(0, 0, 0, table=table) for table in TABLES), own=False)
    log_p, components = result.of_rows(5)
    product = (TABLES[0] + TABLES[1]).div(2).exp()
    expected = (product / product.sum(1, keepdim=True)).log()
    np.testing.assert_allclose(log_p[:2], expected, rtol=1e-6)
    np.testing.assert_allclose(components[:2, 0], TABLES[:, :, 0].mean(0), rtol=1e-6)
    np.testing.assert_allclose(log_p[2:4], TABLES[:, 0], rtol=1e-6)
    np.testing.assert_allclose(components[2:4, 0], TABLES[:, 0, 0] - 1, rtol=1e-6)
    assert np.isnan(log_p[4]).all()
    assert np.isnan(components[4]).all()


def test_rows_of_a_validation_set_follow_the_samples():
    log_p, components = choice(HandMade(0, 0, 0), own=True).of_rows(2)
    np.testing.assert_allclose(log_p, [*TABLES[0], TABLES[0, 0]], rtol=1e-6)
    assert components.shape == (2, 1)


def test_the_user_overrules_the_evidence():
    assert choice(HandMade(0, 0, 0, agreement=0), own=True, trusted=True).trust is True
    assert choice(HandMade(0, 0, 0, agreement=9), own=True, trusted=False).trust is False
