"""Cross-fitted discriminant scores against the formula written out."""

import numpy as np
import pytest
import torch

from sam_attribution.detection._class_model import ClassModel, stratified_folds

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _the_same_numbers_whichever_test_ran_before():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def blobs(n=90, n_classes=3, n_features=4):
    y = torch.as_tensor(RNG.permutation(np.arange(n) % n_classes))
    centres = torch.as_tensor(RNG.normal(size=(n_classes, n_features)) * 2)
    return centres[y] + torch.as_tensor(RNG.normal(size=(n, n_features))), y


def by_hand(train, membership, rows):
    """``h' S^-1 m - m' S^-1 m / 2`` with the within-class covariance formed as it is."""
    total = membership.sum()
    means = membership.T @ train / membership.sum(0)[:, None]
    scatter = train.T @ (train * membership.sum(1)[:, None]) / total
    ridge = 0.1 * scatter.trace() / train.shape[1]
    between = (means.T * membership.sum(0)) @ means / total
    within = 0.9 * (scatter - between) + ridge * torch.eye(train.shape[1], dtype=train.dtype)
    directions = torch.linalg.solve(within, means.T)
    return rows @ directions - (directions * means.T).sum(0) / 2


def scaled(features, others):
    centre, features = features.mean(0), features - features.mean(0)
    scale = features.std(correction=0)
    return features / scale, (others - centre) / scale


@pytest.mark.parametrize("soft", [False, True])
def test_scores_are_those_of_the_other_folds(soft):
    features, y = blobs()
    held_out, _ = blobs(10)
    membership = torch.eye(3, dtype=torch.float64)[y]
    if soft:
        membership = 0.7 * membership + 0.1
    weights = torch.as_tensor(RNG.uniform(0.5, 2, len(y)))
    folds = stratified_folds(y)
    model = ClassModel(folds, weights, [(features, held_out)])
    (trained,), (others,) = model.scores(membership)
    h, h_held_out = scaled(features, held_out)
    weighted = membership * weights[:, None]
    for fold in folds:
        rest = torch.ones(len(y), dtype=bool)
        rest[fold] = False
        expected = by_hand(h[rest], weighted[rest], h[fold])
        torch.testing.assert_close(trained[fold], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(others, by_hand(h, weighted, h_held_out), rtol=1e-5, atol=1e-5)


def test_the_own_label_of_a_row_never_counts():
    features, y = blobs()
    folds, weights = stratified_folds(y), torch.ones(len(y), dtype=torch.float64)
    model = ClassModel(folds, weights, [(features, features[:2])])
    other = torch.eye(3, dtype=torch.float64)[y]
    (before,), _ = model.scores(other)
    other[7] = other[7].roll(1)
    (after,), _ = model.scores(other)
    torch.testing.assert_close(after[7], before[7], rtol=1e-9, atol=1e-9)
    outsider = next(fold for fold in folds if 7 not in fold)[0]
    assert (after[outsider] - before[outsider]).abs().max() > 1e-3


def test_folds_hold_every_row_once_and_every_class_alike():
    y = torch.as_tensor(RNG.integers(0, 3, 103))
    folds = stratified_folds(y)
    assert torch.cat(folds).sort().values.tolist() == list(range(103))
    counts = np.array([np.bincount(y[fold], minlength=3) for fold in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_many_features_keep_what_tells_classes_apart():
    features, y = blobs(600)
    wide = torch.cat([features * 5, torch.as_tensor(RNG.normal(size=(600, 300)))], dim=1)
    weights = torch.ones(600, dtype=torch.float64)
    membership = torch.eye(3, dtype=torch.float64)[y]
    model = ClassModel(stratified_folds(y), weights, [(wide, wide[:1])])
    trained = model.mean_scores(membership)
    assert (trained.argmax(1) == y).double().mean() > 0.9


def test_features_that_are_all_alike_tell_nothing():
    y = torch.arange(20) % 2
    same = torch.ones(20, 3)
    model = ClassModel(stratified_folds(y), torch.ones(20), [(same, same)])
    trained = model.mean_scores(torch.eye(2)[y])
    assert trained.abs().max() == 0
