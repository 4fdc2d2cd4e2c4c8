import numpy as np
import pandas as pd
import pytest

from sam_attribution.diagnosis import CHECKS, check_table

READ = [
    ("validation_skill", 0.9, "fine", "well above chance"),
    ("validation_skill", 0.0, "bad", "scores carry no information"),
    ("damping", 0.0, "fine", "without damping"),
    ("damping", 0.3, "doubtful", "shrinks the scores"),
    ("residual", 1e-6, "fine", "is solved"),
    ("residual", 0.4, "bad", "not solved"),
    ("edge_of_stability", 0.2, "fine", "training is stable"),
    ("edge_of_stability", 0.9, "doubtful", "close to the largest"),
    ("edge_of_stability", 1.3, "bad", "edge of"),
    ("replay_distance", 0.0, "fine", "where training ended"),
    ("replay_distance", 0.3, "bad", "amplifies rounding"),
    ("growth", 1.2, "fine", "hardly grew"),
    ("growth", 11.0, "bad", "do not trust"),
    ("last_rate", 0.01, "fine", "fell towards 0"),
    ("last_rate", 1.0, "doubtful", "did not fall"),
    ("linearity_error", 0.05, "fine", "the loss follows the scores"),
    ("linearity_error", 0.3, "doubtful", "roughly follows"),
    ("linearity_error", np.inf, "bad", "does not follow"),
    ("roughness", 0.01, "fine", "is smooth"),
    ("roughness", 9.0, "bad", "neither its score nor retraining"),
    ("metasmoothness", 0.99, "fine", "the same scores"),
    ("metasmoothness", 0.6, "doubtful", "somewhat different"),
    ("metasmoothness", -0.4, "bad", "may not be reproducible"),
    ("rank_stability", 0.9, "fine", "alike"),
    ("rank_stability", 0.2, "bad", "this run"),
]


@pytest.mark.parametrize(("column", "value", "status", "meaning"), READ)
def test_a_number_is_read_out(column, value, status, meaning):
    (line,) = check_table(pd.DataFrame({column: [value]})).itertuples()
    assert (line.check, line.value, line.status) == (column, value, status)
    assert meaning in line.meaning
    assert bool(line.advice) == (status != "fine")


@pytest.mark.parametrize(
    ("r2", "status", "meaning"),
    [
        (0.46, "fine", "explains 46% of the variance"),
        (0.04, "doubtful", "explains only 4% of the variance"),
        (-0.2, "bad", "no better than their mean"),
    ],
)
def test_skill_of_a_regressor_is_read_as_variance(r2, status, meaning):
    found = check_table(pd.DataFrame({"validation_r2": [r2], "validation_skill": [r2]}))
    (line,) = found.itertuples()
    assert (line.check, line.status) == ("validation_skill", status)
    assert meaning in line.meaning


@pytest.mark.parametrize("value", [1e-9, 2.0])
def test_convergence_is_judged_only_for_methods_that_assume_it(value):
    table = check_table(pd.DataFrame({"stationarity": [value, value], "damping": [0.1, np.nan]}))
    lines = table[table["check"] == "stationarity"]
    assert lines["split"].tolist() == [0]
    assert lines["status"].tolist() == ["fine" if value < 1 else "bad"]


def test_what_was_not_found_out_has_no_line():
    table = check_table(pd.DataFrame({"residual": [np.nan, 1e-9], "seconds_training": [1.0, 2.0]}))
    assert table[["split", "check"]].to_numpy().tolist() == [[1, "residual"]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.column)
def test_statuses_go_from_fine_to_bad(check):
    better = 1 if check.fine > check.doubtful else -1
    values = better * np.linspace(20, -20, 801)
    found = [check.status(value) for value in values]
    assert found == sorted(found, key=["fine", "doubtful", "bad"].index)
    assert all(check.meanings[status] for status in found)


def test_a_table_prints_within_80_columns_with_advice_below():
    values = {"residual": [1e-8, 0.2], "stationarity": [0.05, 1.0], "damping": [0.1, 0.0]}
    table = check_table(pd.DataFrame(values))
    lines, *notes = str(table).split("\n\n")
    assert max(map(len, str(table).splitlines())) <= 80
    assert lines.split()[:4] == ["split", "check", "value", "status"]
    assert len(lines.splitlines()) == 1 + len(table)
    doubtful = table[table["status"] != "fine"]
    for note, line in zip(notes, doubtful.itertuples(), strict=True):
        assert note.startswith(f"{line.check} (split {line.split}): ")
        assert " ".join(note.split()).endswith(f"What helps: {line.advice}.")


def test_one_split_is_not_named_and_no_advice_is_given_where_all_is_fine():
    table = check_table(pd.DataFrame({"residual": [1e-8]}))
    assert str(table).split() == ["check", "value", "status", "residual", "1e-08", "fine"]
    assert "the linear system is solved" in table._repr_html_()


def test_what_is_computed_from_a_table_prints_as_a_frame():
    table = check_table(pd.DataFrame({"residual": [1e-8], "damping": [0.1]}))
    assert type(table[table["status"] == "fine"]) is pd.DataFrame


def test_advice_is_not_what_the_default_method_has_ruled_out():
    row = {"stationarity": 2.0, "damping": 0.1, "damping_reason": "by itself", "method": "hif-fast"}
    table = check_table(pd.DataFrame([row | {"method_reason": "no training was recorded."}]))
    assert not table["advice"].str.contains("unrolled|method__damping").any()
    named = pd.DataFrame([{name: row[name] for name in ("damping", "damping_reason")}])
    assert "method__damping" in check_table(named)["advice"][0]
