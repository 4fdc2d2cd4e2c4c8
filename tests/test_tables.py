"""Tables print every column within 80 columns, and never a certainty."""

import pickle

import numpy as np
import pandas as pd
import pytest

from sam_attribution._tables import ShownTable, diagnostics_table, probability, significant

NAMES = [f"a_long_column_{number}" for number in range(12)]
WIDE = ShownTable(np.linspace(0, 1, 36).reshape(3, 12), columns=NAMES)


@pytest.mark.parametrize("n_rows", [3, 500])
def test_every_column_is_printed_within_80_columns(n_rows):
    table = pd.concat([WIDE] * n_rows, ignore_index=True)
    printed = repr(table)
    assert all(name in printed for name in NAMES)
    assert max(map(len, printed.splitlines())) <= 80
    assert all(name in table._repr_html_() for name in NAMES)
    is_cut = "..." in printed
    assert is_cut == (n_rows == 500) == ("[1500 rows x 12 columns]" in printed)
    assert is_cut == ("1500 rows" in table._repr_html_())


def test_the_columns_are_spread_over_the_blocks_and_none_stands_alone():
    printed = repr(WIDE[NAMES[:5]])  # 80 columns have room for four of them
    headers = [block.splitlines()[0] for block in printed.split("\n\n")]
    assert sorted(header.count("a_long") for header in headers) == [2, 3]


def test_a_part_prints_in_the_same_way_and_numbers_stay_exact():
    table = WIDE.rename(columns={NAMES[0]: "first"}).head(2)
    assert isinstance(table, ShownTable)
    assert all(name in repr(table) for name in NAMES[1:])
    assert "0.343" in repr(table)
    assert table["first"].iloc[1] == 12 / 35
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(WIDE)), WIDE)


def test_numbers_have_three_significant_digits():
    numbers = [0.123456, 12.3456, 1234.56, -45678.9, 3.0, 2.5e-9, 1e9, np.nan]
    texts = ["0.123", "12.3", "1235", "-45679", "3", "2.5e-09", "1e+09", "NaN"]
    assert [significant(number) for number in numbers] == texts


@pytest.mark.parametrize("value", [1.0, 0.9996, 0.0, 1e-300, np.nan])
def test_a_probability_never_prints_as_certain(value):
    assert probability(value) in (">0.999", "<0.001", "NaN")
    assert probability(value)[0] == (">" if value > 0.5 else "<" if value < 0.5 else "N")


SPLITS = [
    {"mode": "em", "n_train": 120, "gain": 1 / 3, "reason": "one long reason of split 0"},
    {"mode": "em", "n_train": 121, "gain": np.nan, "reason": "another long reason of split 1"},
]


def test_diagnostics_print_a_line_for_each_number_and_texts_below():
    assert repr(diagnostics_table(SPLITS)).splitlines() == [
        "split        0    1",
        "mode        em   em",
        "n_train    120  121",
        "gain     0.333  NaN",
        "",
        "reason (split 0): one long reason of split 0",
        "",
        "reason (split 1): another long reason of split 1",
    ]


def test_a_text_that_all_splits_share_is_printed_once_and_wrapped():
    shares = {f"class {number}": number / 100 for number in range(50)}
    table = diagnostics_table([{"gain": 1.0, "shares": shares, "scale": "long " * 40}] * 2)
    lines = repr(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("scale") for line in lines) == 1
    assert "class 3: 0.03" in repr(table)
    assert "class 30" not in repr(table)
    assert "... (50 in all)" in " ".join(repr(table).split())


def test_diagnostics_are_a_table_with_a_row_for_each_split():
    table = diagnostics_table(SPLITS)
    assert table.loc[1, "n_train"] == 121
    assert table["gain"].iloc[0] == 1 / 3
    assert type(table[["n_train"]]) is pd.DataFrame
    assert "<td>0.333</td>" in table._repr_html_()
    assert "another long reason of split 1" in table._repr_html_()
