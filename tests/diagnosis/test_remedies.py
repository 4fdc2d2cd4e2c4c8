"""Advice leaves out what the user does already."""

import warnings

import pandas as pd
import pytest
import torch
from skorch.callbacks import LRScheduler
from torch import nn

from sam_attribution import SAMClassifier, SAMRegressor
from sam_attribution.diagnosis import check_table, done_already
from sam_attribution.diagnosis._remedies import (
    AVERAGE,
    DECAYING,
    LARGER_BATCHES,
    SCALE_FEATURES,
    SCALE_TARGETS,
    SMOOTH,
    TRAIN_LONGER,
    WEIGHT_DECAY,
)
from sam_attribution.problem import problem_from_estimator

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(12, 8, generator=GENERATOR).numpy()
CODES, TARGETS = (X[:, 0] > 0).astype(int), X[:, 0] + 0.1


class FunctionalReLU(nn.Linear):
    def forward(self, rows):
        return super().forward(rows).relu()


def done(module=None, *, rows=X, y=CODES, kind=SAMClassifier, **settings):
    module = nn.Linear(8, 2 if kind is SAMClassifier else 1) if module is None else module
    settings = {"max_epochs": 2, "lr": 1e-9, "batch_size": 4, "random_state": 0} | settings
    fitted = kind(module, **settings).fit(rows, y)
    return done_already(problem_from_estimator(fitted, rows, y))


@pytest.mark.parametrize(
    ("layers", "smooth"),
    [
        ((nn.Linear(8, 2), nn.GELU()), True),
        ((nn.Linear(8, 2), nn.Tanh(), nn.LayerNorm(2)), True),
        ((nn.Linear(8, 2), nn.ReLU()), False),
        ((nn.Linear(8, 2), nn.LeakyReLU()), False),
        ((nn.Linear(8, 2), nn.Hardswish()), False),
        ((FunctionalReLU(8, 2),), False),
    ],
)
def test_smooth_networks_are_known_by_the_functions_they_call(layers, smooth):
    found = done(nn.Sequential(*layers))
    assert (SMOOTH in found) == smooth
    assert AVERAGE in found


@pytest.mark.parametrize(
    ("pooling", "average"), [(nn.MaxPool1d(2), False), (nn.AvgPool1d(2), True)]
)
def test_max_pooling_is_seen(pooling, average):
    assert (AVERAGE in done(nn.Sequential(pooling, nn.Linear(4, 2)))) == average


@pytest.mark.parametrize(
    ("size_of_X", "size_of_y", "scaled"),
    [
        (1, 1, {SCALE_FEATURES, SCALE_TARGETS}),
        (100, 1, {SCALE_TARGETS}),
        (0.001, 1, {SCALE_TARGETS}),
        (1, 100, {SCALE_FEATURES}),
        (100, 100, set()),
    ],
)
def test_what_is_not_of_unit_size_is_to_be_scaled(size_of_X, size_of_y, scaled):
    found = done(rows=size_of_X * X, y=size_of_y * TARGETS, kind=SAMRegressor)
    assert found & {SCALE_FEATURES, SCALE_TARGETS} == scaled


def test_class_codes_have_no_size():
    assert SCALE_TARGETS in done(y=1000 + CODES)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"batch_size": -1}, LARGER_BATCHES),
        ({"callbacks": [LRScheduler("ExponentialLR", gamma=0.5)]}, DECAYING),
        ({"optimizer__weight_decay": 0.1}, WEIGHT_DECAY),
        ({"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1}, WEIGHT_DECAY),
    ],
)
def test_what_training_has_is_not_advised(settings, remedy):
    assert remedy in done(**settings)
    assert remedy not in done()


def test_a_table_gives_the_rest_of_the_advice():
    numbers = pd.DataFrame({"roughness": [0.7, 0.7]})
    table = check_table(numbers, {0: {SMOOTH, AVERAGE}, 1: ()}.__getitem__)
    assert table["advice"][0] == "a smaller lr, larger batches"
    assert table["advice"][1] == f"{SMOOTH}, {AVERAGE}, a smaller lr, larger batches"


@pytest.mark.parametrize(
    ("column", "row", "left_out"),
    [
        ("damping", {"damping": 0.1, "damping_reason": "given"}, "search method__damping"),
        ("edge_of_stability", {"edge_of_stability": 2.0, "linearity_error": 0.1}, "diagnose("),
    ],
)
def test_what_was_set_or_asked_for_is_not_advised_again(column, row, left_out):
    def advice(row):
        return check_table(pd.DataFrame([row])).set_index("check").loc[column, "advice"]

    assert left_out not in advice(row)
    assert left_out in advice({column: row[column]})


@pytest.mark.parametrize(
    ("settings", "useless"),
    [({}, False), ({"lr": 0}, True), ({"lr": 1e5, "y": [0, 1] * 6}, True)],
)
def test_training_longer_helps_neither_without_steps_nor_after_a_blow_up(settings, useless):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fit says that training blew up
        assert (TRAIN_LONGER in done(**settings)) == useless
