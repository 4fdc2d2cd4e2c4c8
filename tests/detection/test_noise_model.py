"""Both noise models of the labels, on Gaussians whose answer is known."""

import numpy as np
import pytest
import torch

from sam_attribution.detection._class_model import ClassModel, stratified_folds
from sam_attribution.detection._noise_model import (
    fit_as_given,
    fit_by_em,
    label_counts,
)
from sam_attribution.detection._probabilities import (
    almost_identity,
    best_inverse_temperature,
    log_likelihood,
    log_odds,
    log_posterior,
    log_probabilities,
    mean_probability,
)

CENTRES = np.array([[0, 0], [5, 0], [0, 5], [5, 5]])


def drawn(transition, n=1500, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, n)
    given = np.array([rng.choice(4, p=transition[label]) for label in true])
    features = torch.as_tensor(CENTRES[true] + spread * rng.normal(size=(n, 2)))
    return features.float(), torch.as_tensor(true), torch.as_tensor(given)


def model_of(features, held_out, y):
    weights = torch.ones(len(y))
    return ClassModel(stratified_folds(y), weights, [(features, held_out)]), weights


PAIR = np.eye(4) * 0.7 + np.roll(np.eye(4), 1, 1) * 0.3
SYMMETRIC = np.full((4, 4), 0.1) + np.eye(4) * 0.6


@pytest.mark.parametrize("truth", [PAIR, SYMMETRIC], ids=["pair", "symmetric"])
def test_em_finds_the_transition_and_the_classes(truth):
    features, true, given = drawn(truth)
    held_out, _, _ = drawn(truth, seed=1)
    classes, weights = model_of(features, held_out, given)
    start = fit_as_given(classes, given, weights, 4)
    by_em = fit_by_em(classes, given, weights, start)
    assert np.abs(by_em.transition.numpy() - truth).max() < 0.05
    assert (by_em.responsibilities.argmax(1) == true).double().mean() > 0.98


@pytest.mark.parametrize("noisy", [False, True])
def test_held_out_labels_choose_the_noise_model_and_tell_whether_they_are_noisy(noisy):
    features, _, given = drawn(PAIR)
    held_out, clean, as_noisy = drawn(PAIR, seed=1)
    y = as_noisy if noisy else clean
    classes, weights = model_of(features, held_out, given)
    start = fit_as_given(classes, given, weights, 4)
    by_em = fit_by_em(classes, given, weights, start)
    identity = almost_identity(4)
    of_clean = by_em.held_out_likelihood(y, identity).sum()
    of_noisy = by_em.held_out_likelihood(y, by_em.transition).sum()
    assert (of_noisy > of_clean) == noisy
    assert max(of_clean, of_noisy) > start.held_out_likelihood(y, identity).sum()


def test_a_row_of_weight_two_is_two_rows():
    responsibilities, y = torch.tensor([[0.2, 0.8], [1.0, 0.0]]), torch.tensor([1, 0])
    counts = label_counts(responsibilities, y, torch.tensor([2.0, 1.0]))
    twice = label_counts(responsibilities[[0, 0, 1]], y[[0, 0, 1]], torch.ones(3))
    torch.testing.assert_close(counts, twice)
    torch.testing.assert_close(counts, torch.tensor([[1.0, 0.4], [0.0, 1.6]]))


def test_probabilities_against_the_sums_written_out():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    y, transition = torch.tensor([0, 3, 1]), torch.as_tensor(PAIR)
    p = prior * (1.5 * scores).exp()
    p = (p / p.sum(2, keepdim=True)).mean(0)
    log_p = log_probabilities(scores, prior.log(), 1.5)
    torch.testing.assert_close(log_p.exp(), p)
    joint = torch.stack([p[i] * transition[:, y[i]] for i in range(3)])
    torch.testing.assert_close(log_likelihood(log_p, y, transition), joint.sum(1).log())
    posterior = joint / joint.sum(1, keepdim=True)
    torch.testing.assert_close(log_posterior(log_p, y, transition + 1e-15).exp(), posterior)
    own = p[range(3), y]
    torch.testing.assert_close(log_odds(log_p, y), (own / (1 - own)).log())


def test_probabilities_of_many_rows_are_formed_some_rows_at_a_time(monkeypatch):
    """The bits are those of all rows at once; no array of states x rows x classes is made."""
    generator = torch.Generator().manual_seed(0)
    scores, prior = torch.randn(5, 40_003, 3, generator=generator), torch.full((3,), 1 / 3).log()
    whole = torch.log_softmax(0.7 * scores + prior, dim=2)
    sizes, logsumexp = [], torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor, "logsumexp", lambda x, dim: sizes.append(x.numel()) or logsumexp(x, dim)
    )
    log_p = log_probabilities(scores, prior, 0.7)
    mean = mean_probability(list(whole))
    monkeypatch.undo()
    assert len(sizes) > 2
    assert max(sizes) < scores.numel() / 2
    expected = whole.logsumexp(0) - np.log(5)
    torch.testing.assert_close(log_p, expected, rtol=0, atol=0)
    torch.testing.assert_close(mean, expected, rtol=0, atol=0)


def test_best_inverse_temperature_is_the_maximum_of_the_likelihood():
    features, true, _ = drawn(np.eye(4), spread=3.0)
    classes, weights = model_of(features, features[:1], true)
    scores = torch.stack([classes.mean_scores(torch.eye(4)[true])])
    prior = torch.full((4,), 0.25).log()
    best = best_inverse_temperature(scores, prior, true, torch.eye(4), weights)
    grid = np.geomspace(0.05, 5, 200)
    values = [
        float(log_likelihood(log_probabilities(scores, prior, s), true, torch.eye(4)).mean())
        for s in grid
    ]
    assert best == pytest.approx(grid[np.argmax(values)], rel=0.1)
