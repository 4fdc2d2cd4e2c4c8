"""Which account is taken and who is trusted, on likelihoods made by hand; means over splits."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sam_attribution.detection._judgement import Conclusion, Evidence
from sam_attribution.detection._verdict import Verdict

TABLES = torch.tensor([[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.1, 0.9]]]).log()


class HandMade:
    """A judgement of two rows trained on and one held out, with means of likelihoods as given."""

    seconds, log_likelihood_of_sizes = 0.0, torch.full((100,), -9.0)

    def __init__(self, word, clean, noisy, agreement=0.0, table=TABLES[0]):
        wave = torch.tensor([1.0, -1.0]).repeat(50)  # of standard error 0.1
        self.likelihoods = torch.stack(
            [mean + wave * k for k, mean in enumerate((word, clean, noisy))]
        )
        self.agreement, self.table = agreement, table

    def conclude(self, *, correct, trust):
        self.asked = correct, trust
        trained = Evidence(self.table, self.table[:, :1])
        held_out = Evidence(self.table[:1] - 1, self.table[:1, :1] - 1)
        return Conclusion(0.1, torch.eye(2), trained, held_out)


def verdict(*judgements, own):
    ends = [np.arange(0) if own else np.array([2 + number]) for number in range(len(judgements))]
    splits = [SimpleNamespace(train=np.array([0, 1]), held_out=end, y=[0]) for end in ends]
    return Verdict(
        [SimpleNamespace(split=s, judgement=j) for s, j in zip(splits, judgements, strict=True)]
    )


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
def test_who_is_trusted(means, agreement, own, trusted):
    judgement = HandMade(*means, agreement=agreement)
    result = verdict(judgement, own=own)
    assert judgement.asked[1] == trusted
    assert result.witnesses == ["network", "classes", "trusted"][: 2 + trusted]
    assert result.diagnostics()["validation"].item() == ("trusted" if trusted else "as noisy")


@pytest.mark.parametrize(
    ("means", "agreement", "own", "corrected"),
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
def test_labels_are_corrected_if_that_suits_the_held_out_ones(means, agreement, own, corrected):
    judgement = HandMade(*means, agreement=agreement)
    result = verdict(judgement, own=own)
    assert judgement.asked[0] == corrected
    assert (result.diagnostics()["labels"].item() == "corrected") == corrected


def test_tables_of_several_splits_are_their_geometric_mean():
    result = verdict(*(HandMade(0, 0, 0, table=table) for table in TABLES), own=False)
    table, parts = result.of_rows(5)
    product = (TABLES[0] + TABLES[1]).div(2).exp()
    expected = (product / product.sum(1, keepdim=True)).log()
    np.testing.assert_allclose(table[:2], expected, rtol=1e-6)
    np.testing.assert_allclose(parts[:2, 0], TABLES[:, :, 0].mean(0), rtol=1e-6)
    np.testing.assert_allclose(table[2:4], TABLES[:, 0], rtol=1e-6)
    np.testing.assert_allclose(parts[2:4, 0], TABLES[:, 0, 0] - 1, rtol=1e-6)
    assert np.isnan(table[4]).all()
    assert np.isnan(parts[4]).all()
