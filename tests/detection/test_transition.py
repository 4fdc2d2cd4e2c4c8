"""Rates of confusion from counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_attribution.detection._transition import transition_matrix


def drawn(shape, n_classes=12, per_class=400, rate=0.02, seed=0):
    rng = np.random.default_rng(seed)
    rates = rng.gamma(shape, rate / shape, (n_classes, n_classes))
    counts = rng.poisson(rates * per_class).astype(float)
    np.fill_diagonal(counts, 0)
    return torch.as_tensor(counts + np.diag(per_class - counts.sum(1)))


def test_equal_rates_are_their_mean():
    counts = torch.tensor([[90.0, 6, 4], [1, 95, 4], [0, 3, 97]])
    matrix = transition_matrix(counts, shape=np.inf)
    expected = 18 / (2 * 300)
    off = ~torch.eye(3, dtype=bool)
    torch.testing.assert_close(matrix[off], torch.full((6,), expected))
    torch.testing.assert_close(matrix.sum(1), torch.ones(3))


def test_posterior_mean_of_a_known_shape():
    counts = torch.tensor([[90.0, 10], [0, 100]])
    matrix = transition_matrix(counts, shape=2.0)
    rate = 10 / 200
    assert float(matrix[0, 1]) == pytest.approx((10 + 2) / (100 + 2 / rate), rel=1e-5)
    assert float(matrix[1, 0]) == pytest.approx((0 + 2) / (100 + 2 / rate), rel=1e-5)


def test_real_confusions_stand_out_and_small_ones_become_one_rate():
    few = torch.eye(10) * 300 + torch.roll(torch.eye(10), 1, 1) * 100
    assert float(transition_matrix(few)[0, 1]) == pytest.approx(0.25, rel=0.02)
    assert float(transition_matrix(few)[0, 2]) < 0.002
    alike = transition_matrix(drawn(1e6))
    off = ~torch.eye(12, dtype=bool)
    assert alike[off].std() < 0.2 * alike[off].mean()  # of the counts themselves .35


def test_no_confusion_is_the_identity():
    assert torch.equal(transition_matrix(torch.eye(4) * 7), torch.eye(4))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.floats(0, 30), st.integers(0, 1000))
def test_rows_are_probabilities(n_classes, scale, seed):
    counts = torch.as_tensor(np.random.default_rng(seed).random((n_classes, n_classes)) * scale)
    matrix = transition_matrix(counts)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(n_classes, dtype=matrix.dtype))
    assert (matrix.diag() >= 0.05 - 1e-9).all()
