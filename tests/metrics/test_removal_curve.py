"""Removal curves against sets worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config

from sam_attribution.metrics import removal_curve

SCORES = np.array([0.3, -1.0, np.nan, 0.1, -1.0, 2.0, 0.0, np.nan, 5.0, -3.0])
FRACTIONS = [0, 0.1, 0.2, 0.4]


class Recorder:
    """Sum of the numbers of the rows kept; remembers the masks."""

    def __init__(self):
        self.masks = []

    def __call__(self, kept):
        self.masks.append(kept)
        return np.flatnonzero(kept).sum()


def test_the_lowest_scores_go_in_a_stable_order():
    evaluate = Recorder()
    table = removal_curve(SCORES, evaluate, fractions=FRACTIONS, n_random=0)
    gone = [np.flatnonzero(~kept).tolist() for kept in evaluate.masks]
    assert gone == [[], [9], [1, 9], [1, 4, 9]]
    assert table["value"].tolist() == [45 - sum(rows) for rows in gone]
    assert table["n_removed"].tolist() == [0, 1, 2, 3]  # of 8 judged rows
    assert table["fraction"].tolist() == FRACTIONS
    assert set(table["kind"]) == {"lowest score"}
    assert table["seed"].isna().all()


@pytest.mark.slow
@settings(derandomize=True, max_examples=30)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 40), share_judged=st.floats(0, 1))
def test_removed_sets_are_nested_and_hold_judged_rows_only(seed, n, share_judged):
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random(n) < share_judged, rng.integers(5, size=n), np.nan)
    fractions = np.linspace(0, 0.9, 7)
    for n_random in (0, 1):
        evaluate = Recorder()
        removal_curve(scores, evaluate, fractions=fractions, n_random=n_random, random_state=seed)
        masks = np.array(evaluate.masks)
        assert masks[:, np.isnan(scores)].all()
    lowest = removal_curve(scores, Recorder(), fractions=fractions, n_random=0)
    expected = np.round(fractions * np.sum(~np.isnan(scores)))
    np.testing.assert_array_equal(lowest["n_removed"], expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_orders_are_nested_differ_and_repeat(seed):
    def masks(random_state):
        evaluate = Recorder()
        table = removal_curve(
            np.arange(50.0),
            evaluate,
            fractions=[0.1, 0.3, 0.6],
            n_random=4,
            random_state=random_state,
        )
        assert table["kind"].tolist() == 3 * ["lowest score"] + 12 * ["random"]
        assert table["seed"].iloc[3:].tolist() == [s for s in range(4) for _ in range(3)]
        assert table["n_removed"].tolist() == 5 * [5, 15, 30]
        return np.array(evaluate.masks).reshape(5, 3, 50)

    first, again = masks(seed), masks(seed)
    assert (first[:, 1:] <= first[:, :-1]).all()
    assert len(np.unique(first[:, 0], axis=0)) == 5
    np.testing.assert_array_equal(first, again)
    assert (masks(seed + 10)[1:] != first[1:]).any()


def test_random_removal_of_a_share_costs_that_share_on_average():
    """With an additive value the mean over random orders is known."""
    worth = np.random.default_rng(0).normal(1, 1, size=40)
    table = removal_curve(
        -worth, lambda kept: worth[kept].sum(), fractions=[0.25], n_random=400, random_state=0
    )
    random = table[table["kind"] == "random"]["value"]
    assert abs(random.mean() - 0.75 * worth.sum()) < 4 * random.sem()
    assert table["value"][0] == pytest.approx(np.sort(worth)[:30].sum())


def test_each_set_is_trained_once():
    evaluate = Recorder()
    table = removal_curve(SCORES, evaluate, fractions=[0, 0.01, 0.3], n_random=3, random_state=0)
    assert len(table) == 12
    assert len({kept.tobytes() for kept in evaluate.masks}) == len(evaluate.masks)
    assert table[table["n_removed"] == 0]["value"].nunique() == 1


def test_nothing_of_the_users_changes():
    scores, state = SCORES.copy(), np.random.get_state()[1].copy()

    def spoil(kept):
        kept[:] = False
        return 0.0

    table = removal_curve(scores, spoil, fractions=FRACTIONS, n_random=2)
    np.testing.assert_array_equal(scores, SCORES)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert table["n_removed"].tolist() == 3 * [0, 1, 2, 3]


def test_progress_is_shown_on_demand(capsys):
    removal_curve(SCORES, Recorder(), n_random=0)
    assert capsys.readouterr().err == ""
    removal_curve(SCORES, Recorder(), n_random=0, verbose=1)
    assert "removal curve: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"scores": [[1.0, 2]]}, r"scores should be a 1d array, got .* \(1, 2\)"),
        ({"evaluate": 0.5}, "evaluate must be a function of the mask of kept rows, got 0.5"),
        ({"evaluate": lambda kept: None}, "evaluate must return a number, got None"),
        ({"fractions": [0, 1]}, r"fractions must lie in \[0, 1\), got \[0.0, 1.0\]"),
        ({"fractions": [-0.1]}, "fractions must lie in"),
        ({"fractions": [np.nan]}, "fractions must lie in"),
        ({"fractions": 0.1}, r"fractions should be a 1d array, got .* \(\)"),
        ({"n_random": -1}, "n_random == -1, must be >= 0"),
        ({"n_random": 1.5}, "n_random must be an instance of"),
    ],
)
def test_bad_input_is_named(settings_, message):
    arguments = {"scores": [1.0, 2], "evaluate": np.mean} | settings_
    with pytest.raises((TypeError, ValueError), match=message):
        removal_curve(**arguments)


def test_several_at_once_give_the_same_table():
    settings_ = {"fractions": FRACTIONS, "n_random": 2, "random_state": 0}
    alone = removal_curve(SCORES, Recorder(), **settings_)
    with parallel_config(backend="threading", n_jobs=2):
        shared = removal_curve(SCORES, Recorder(), **settings_)
    pd.testing.assert_frame_equal(shared, alone)
