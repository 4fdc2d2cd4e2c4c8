"""Decisions are about rows: found by id in any order, by position only in the page's own order."""

import csv
import io
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.review import apply_decisions, label_token, review_page
from tests.review.page_reader import data_of, unpacked

N = 6
NAMES = [f"img_{k}" for k in range(N)]
Y = np.array(["cat", "dog", "cat", "dog", "cat", "dog"])
X = np.arange(2.0 * N).reshape(N, 2)
TABLE = pd.DataFrame(X, index=NAMES)
DECIDED = {1: ("relabel", "cat"), 3: ("remove", None), 4: ("keep", "cat"), 5: ("relabel", "cat")}
MOVED = [4, 2, 0, 5, 3, 1]
WITHIN = [2, 1, 0, 3, 4, 5]  # two rows of one class change places


def page_lines(path, X=TABLE, y=Y, **settings):
    """Header and lines that the page of `X` and `y` exports for `DECIDED`."""
    scores = np.arange(float(len(y)))
    data = data_of(review_page(path / "p.html", X, given=y, suggested=y, scores=scores, **settings))
    assert unpacked(data["rows"], "<i4").tolist() == list(range(len(y)))
    lines = [["row", "id", "given", "suggested", "decision", "label", "page"]]
    for row, (decision, label) in DECIDED.items():
        name = data["ids"][row] if data["ids"] else ""
        tokens = label_token(y[row]), label_token(y[row])
        label = "" if label is None else label_token(label)
        lines.append([str(row), name, *tokens, decision, label, data["page"]])
    return lines


def written(lines, comma=","):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=comma).writerows(lines)
    file.seek(0)
    return file


def expected(order):
    """Names and labels of what stays of the rows in this order."""
    stays = [row for row in order if row != 3]
    return [NAMES[row] for row in stays], ["cat" if row in (1, 5) else str(Y[row]) for row in stays]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    return page_lines(tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("order", [range(N), MOVED, WITHIN])
def test_decisions_follow_the_index(lines, order):
    names, labels = expected(order)
    table, y = apply_decisions(TABLE.iloc[list(order)], Y[list(order)], written(lines))
    assert table.index.tolist() == names
    assert y.tolist() == labels


@pytest.mark.parametrize(
    "ids", [NAMES, range(100, 100 + N), pd.Series([2**60 + k for k in range(N)])]
)
def test_decisions_follow_ids(tmp_path, ids):
    lines = page_lines(tmp_path, X, ids=ids)
    ids = np.asarray(ids)
    rows, y = apply_decisions(X[MOVED], Y[MOVED], written(lines), ids=ids[MOVED])
    names, labels = expected(MOVED)
    np.testing.assert_array_equal(rows, X[[NAMES.index(name) for name in names]])
    assert y.tolist() == labels


def test_a_shuffled_table_is_matched_by_its_row_numbers(tmp_path):
    frame = pd.DataFrame(X)
    lines = page_lines(tmp_path, frame)
    table, y = apply_decisions(frame.iloc[MOVED], Y[MOVED], written(lines))
    assert [NAMES[k] for k in table.index] == expected(MOVED)[0]
    assert y.tolist() == expected(MOVED)[1]


@pytest.mark.parametrize(
    ("order", "message"), [(MOVED, "y holds other labels"), (WITHIN, "X holds the same rows in an")]
)
def test_positions_in_another_order_are_refused(tmp_path, order, message):
    lines = page_lines(tmp_path, X)
    apply_decisions(X, Y, written(lines))
    with pytest.raises(ValueError, match=rf"line 2 \(row 1\): {message}.* with ids="):
        apply_decisions(X[order], Y[order], written(lines))


def test_the_rows_of_a_page_need_not_be_those_of_the_table(tmp_path, lines):
    lines = page_lines(tmp_path, ["text"] * N)
    assert apply_decisions(np.arange(N), Y, written(lines))[0].tolist() == [0, 1, 2, 4, 5]
    assert apply_decisions(TABLE, Y, written(lines))[1].tolist() == expected(range(N))[1]
    lines = page_lines(tmp_path)  # with ids, for arrays without
    assert apply_decisions(X, Y, written(lines))[1].tolist() == expected(range(N))[1]


@pytest.mark.parametrize("table", [X[MOVED], pd.DataFrame(X[MOVED], index=["twice"] * N)])
def test_ids_that_could_not_be_looked_up_are_the_cause(lines, table):
    with pytest.raises(ValueError, match=r"found by its position since X has no .*pass ids=X\.ind"):
        apply_decisions(table, Y[MOVED], written(lines))
    names = np.array(NAMES)[MOVED]
    assert apply_decisions(table, Y[MOVED], written(lines), ids=names)[1].tolist()


def test_a_table_read_with_another_separator_is_named(lines):
    frame = pd.read_csv(written(lines, ";"))
    with pytest.raises(ValueError, match=r"single column, 'row;id.* separator than ';'.*sep=';'"):
        apply_decisions(TABLE, Y, frame)


@pytest.mark.parametrize(
    ("table", "y", "message"),
    [
        (TABLE.set_axis([*"abcdef"]), Y, r"line 2 \(row 1, id \"img_1\"\): the page was made of o"),
        (TABLE, np.roll(Y, 1), r"line 2 .*: the page was made of other rows"),
        (TABLE[:5], Y[:5], "the page was made of other rows"),
        (X[:5], Y[:5], r"y holds other labels, or the same in another order than on the page"),
    ],
)
def test_other_tables_are_refused(lines, table, y, message):
    with pytest.raises(ValueError, match=message):
        apply_decisions(table, y, written(lines))


@pytest.mark.parametrize("table", [TABLE, X])
def test_labels_of_another_type_are_shown_beside_those_of_the_page(lines, table):
    codes = np.unique(Y, return_inverse=True)[1]
    message = (
        rf"must hold labels of the type on the page, got {codes[1]} where the page has \"{Y[1]}"
    )
    with pytest.raises(ValueError, match=message):
        apply_decisions(table, codes, written(lines))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", "img_9", "id must be the id of a row of X, got img_9. Pass"),
        ("id", '"img_4"', "the given label must be that of y"),
        ("page", "page-1-2-3-4", "the page was made of other rows"),
        ("page", "2.0", "page must be what the review page wrote there, got '2.0'"),
        ("given", '"cat"', "the given label must be that of y"),
        ("decision", "keep", 'decision is keep, but label is "cat", not the given one'),
        ("label", '"cow"', "label must be one of"),
    ],
)
def test_a_changed_cell_is_named(lines, column, value, message):
    changed = [line.copy() for line in lines]
    changed[1][lines[0].index(column)] = value
    with pytest.raises(ValueError, match=rf"csv, line 2 \(row 1, id .*\): {message}"):
        apply_decisions(TABLE, Y, written(changed))


def test_ids_that_are_not_one_per_row(tmp_path):
    for ids, message in (
        ([1] * N, "ids must name each row once, got 1 more"),
        ([1], "ids must ho"),
    ):
        with pytest.raises(ValueError, match=message):
            page_lines(tmp_path, X, ids=ids)
        with pytest.raises(ValueError, match=message):
            apply_decisions(X, Y, written([["row", "given", "decision", "label"]]), ids=ids)
    with pytest.raises(TypeError, match="ids must be in the order of the rows, got a set"):
        page_lines(tmp_path, X, ids=set(range(N)))
    with pytest.raises(ValueError, match=r"ids.* have the same index in another order"):
        page_lines(tmp_path, TABLE, ids=pd.Series(NAMES[::-1], NAMES[::-1]))


def test_an_index_that_names_rows_twice_gives_no_ids(tmp_path):
    twice = TABLE.set_axis(["a", "a", "b", "c", "d", "e"])
    lines = page_lines(tmp_path, twice)
    assert {line[1] for line in lines[1:]} == {""}
    assert apply_decisions(twice, Y, written(lines))[1].tolist() == expected(range(N))[1]


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020", periods=N),
        pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]]),
        pd.Index([0.5, 1.5, 2.5, 3.5, 4.5, 5.5]),
        pd.Index([True, "true", "True", 1, "1", "=1"], dtype=object),
    ],
    ids=["dates", "pairs", "floats", "mixed"],
)
def test_any_index_names_rows(tmp_path, index):
    table = TABLE.set_axis(index)
    lines = page_lines(tmp_path, table)
    _, y = apply_decisions(table.iloc[MOVED], Y[MOVED], written(lines))
    assert y.tolist() == expected(MOVED)[1]


def test_the_page_shows_the_ids(tmp_path):
    found = {}
    for name, X_shown, ids in (("index", TABLE, None), ("ids", X, NAMES), ("none", X, None)):
        path = review_page(
            tmp_path / "p.html", X_shown, given=Y, suggested=Y, scores=range(N), ids=ids
        )
        found[name] = data_of(path)["index"]
    assert found == {"index": NAMES, "ids": NAMES, "none": None}


def test_the_report_takes_the_index_of_the_fit(tmp_path):
    rows = np.random.default_rng(0).normal(size=(30, 3))
    table = pd.DataFrame(rows, index=[f"r{k}" for k in range(30)])
    detector = MislabelDetector(SAMClassifier(max_epochs=1), random_state=0)
    detector.fit(table, np.arange(30) % 2)
    for shown in (table, rows):
        data = data_of(detector.report(tmp_path / "p.html", shown))
        assert sorted(data["index"]) == sorted(table.index)
    assert data_of(detector.report(tmp_path / "p.html", rows, ids=range(30)))["index"][
        0
    ].isdecimal()
    with pytest.raises(ValueError, match="y and X have the same index in another order"):
        detector.report(tmp_path / "p.html", table[::-1])
    assert (
        data_of(detector.fit(rows, np.arange(30) % 2).report(tmp_path / "p.html", rows))["ids"]
        is None
    )


def test_a_page_is_not_longer_than_browsers_can_show(tmp_path):
    n = 100_001
    labels, scores = np.zeros(n, int), np.arange(n)
    columns = {"given": labels, "suggested": labels, "scores": scores}
    for n_rows in (None, n):
        with pytest.raises(ValueError, match=r"n_rows must be given: .* got 100001"):
            review_page(tmp_path / "p.html", scores, n_rows=n_rows, **columns)


# --- spreadsheets ------------------------------------------------------------------------------


def nullable(dtype, values):
    return pd.Series(values, dtype=dtype)


@pytest.mark.parametrize(
    "y",
    [
        nullable("Int64", [1, 2, 1, 2, 1, 2]),
        nullable("Int64", [2**60, 2**60 + 1] * 3),
        nullable("boolean", [True, False] * 3),
        nullable("string", ["a", "b"] * 3),
        nullable("Float64", [0.5, 1.5] * 3),
        pd.Series(nullable("Int64", [1, 2] * 3)).astype("category"),
        pd.array([1, 2] * 3, dtype="Int64"),
    ],
    ids=lambda y: str(y.dtype),
)
@pytest.mark.parametrize("as_frame", [False, True])
def test_nullable_labels_come_back(tmp_path, y, as_frame):
    one, two = list(y)[:2]
    path = review_page(tmp_path / "p.html", X, given=y, suggested=y, scores=range(N))
    page = data_of(path)["page"]
    lines = [["row", "given", "decision", "label", "page"]]
    lines.append(["0", label_token(one), "relabel", label_token(two), page])
    file = written(lines)
    _, changed = apply_decisions(X, y, pd.read_csv(file) if as_frame else file)
    assert type(changed) is type(y)
    assert changed.dtype == y.dtype
    assert list(changed) == [two, *list(y)[1:]]
    assert next(iter(y)) == one


def test_missing_labels_are_named():
    y = nullable("Int64", [1, None, 1, 2, 1, 2])
    with pytest.raises(
        ValueError, match="Input y contains NaN: 1 missing values, the first in row"
    ):
        apply_decisions(X, y, written([["row", "given", "decision", "label"]]))


SMALL = "row,given,suggested,decision,label\n{}"


@pytest.mark.parametrize(
    "text",
    [
        "0,1.0,2.0,relabel,2.0\n",
        "0.0,1,2,relabel,2\n,,,,\n",
        ",,,,\n0,1,2,relabel,2\n , ,,,\n\n",
    ],
)
def test_what_a_spreadsheet_makes_of_numbers_and_empty_lines(text):
    for file in (io.StringIO(SMALL.format(text)), pd.read_csv(io.StringIO(SMALL.format(text)))):
        assert apply_decisions(X[:2], [1, 2], file)[1] == [2, 2]
    semicolons = io.StringIO(SMALL.format(text).replace(",", ";"))
    assert apply_decisions(X[:2], [1, 2], semicolons)[1] == [2, 2]


def test_a_frame_with_missing_rows_and_ids(lines):
    frame = pd.read_csv(written([*lines, [""] * 7]))
    assert frame["row"].dtype == float
    _, y = apply_decisions(TABLE.iloc[MOVED], Y[MOVED], frame)
    assert y.tolist() == expected(MOVED)[1]


def test_large_integers_written_as_floats_mean_none():
    y = [2**60, 2**60 + 1]
    with pytest.raises(ValueError, match="the given label must be that of y"):
        apply_decisions(X[:2], y, io.StringIO(SMALL.format("0,1.152921504606847e18,,keep,\n")))


WORDS = ["Äpfel", "Öl"]
LINE = SMALL.format("0,Äpfel,Öl,relabel,Öl\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_files_in_utf_8(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text(LINE.replace(",", ";"), encoding=encoding)
    assert apply_decisions(X[:2], WORDS, path)[1] == ["Öl", "Öl"]
    assert apply_decisions(X[:2], WORDS, path.open("rb"))[1] == ["Öl", "Öl"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32", "shift-jis"])
def test_files_in_another_encoding_are_refused(tmp_path, encoding):
    path = tmp_path / "a.csv"
    text = LINE if encoding != "shift-jis" else LINE.replace("Ä", "あ").replace("Ö", "い")
    path.write_bytes(text.encode(encoding))
    for file in (path, path.open("rb")):
        with pytest.raises(ValueError, match=r'csv must be in UTF-8, got .*\. Save it as "CSV UTF'):
            apply_decisions(X[:2], WORDS, file)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="csv must be a path or a file, got text"):
        apply_decisions(X[:2], [1, 2], SMALL.format(""))
    for csv_file in (None, 3, [["row"]]):
        with pytest.raises(TypeError, match="csv must be a path, a file or a DataFrame, got"):
            apply_decisions(X[:2], [1, 2], csv_file)
    (tmp_path / "a.csv").write_bytes("ä".encode("cp1252"))
    with (
        (tmp_path / "a.csv").open(encoding="utf-8") as file,
        pytest.raises(ValueError, match="csv is not in UTF-8"),
    ):
        apply_decisions(X[:2], [1, 2], file)
    with pytest.raises(ValueError, match=r"line 2: no CSV .*field larger"):
        apply_decisions(X[:2], [1, 2], io.StringIO(SMALL.format("0," + "1" * 200_000)))
    assert apply_decisions(X[:2], [1, 2], io.StringIO(SMALL.format("0,1,2,relabel,2,,\n")))[1] == [
        2,
        2,
    ]
    with pytest.raises(ValueError, match="line 2: 6 cells for 5 columns"):
        apply_decisions(X[:2], [1, 2], io.StringIO(SMALL.format("0,1,2,relabel,2,3\n")))
    with pytest.raises(ValueError, match="has the column row more than once"):
        apply_decisions(X[:2], [1, 2], io.StringIO("row,row,given,decision,label\n"))
    with pytest.raises(ValueError, match="row or id not found"):
        apply_decisions(X[:2], [1, 2], io.StringIO("given,decision,label\n"))


# --- mutated files: the right result, or a ValueError by name -----------------------------------


def shuffled_lines(lines, draw):
    return [lines[0], *draw(st.permutations(lines[1:]))]


def shuffled_columns(lines, draw):
    order = draw(st.permutations(range(len(lines[0]))))
    return [[line[k] for k in order] for line in lines]


def without_a_column(lines, draw):
    gone = draw(st.integers(0, len(lines[0]) - 1))
    return [line[:gone] + line[gone + 1 :] for line in lines]


def with_empty_lines(lines, draw):
    at = draw(st.integers(1, len(lines)))
    return [*lines[:at], [""] * len(lines[0]), *lines[at:]]


def with_spaces(lines, draw):
    space = draw(st.sampled_from([" ", "  ", "\t", "\xa0"]))
    return [[f"{space}{cell}{space}" for cell in line] for line in lines]


def without_quotes(lines, draw):
    return [[cell.strip('"') for cell in line] for line in lines]


def numbers_as_floats(lines, draw):
    return [[f"{cell}.0" if cell.isdecimal() else cell for cell in line] for line in lines]


def with_a_line_twice(lines, draw):
    return [*lines, draw(st.sampled_from(lines[1:]))] if len(lines) > 1 else lines


def with_a_swapped_cell(lines, draw):
    column = draw(st.integers(0, len(lines[0]) - 1))
    one, other = (draw(st.integers(1, max(1, len(lines) - 1))) for _ in "ab")
    if max(one, other) >= len(lines):
        return lines
    changed = [list(line) for line in lines]
    changed[one][column], changed[other][column] = lines[other][column], lines[one][column]
    return changed


def with_another_cell(lines, draw):
    changed = [list(line) for line in lines]
    line = draw(st.integers(0, len(lines) - 1))
    column = draw(st.integers(0, len(lines[0]) - 1))
    changed[line][column] = draw(st.sampled_from(["", "0", "1", "7", "-1", "1e0", '"cow"', "=A1"]))
    return changed


HARMLESS = [
    *(shuffled_lines, shuffled_columns, with_empty_lines, with_spaces),
    *(without_quotes, numbers_as_floats),
]
HARMFUL = [without_a_column, with_a_line_twice, with_a_swapped_cell, with_another_cell]
ORDERS = [list(range(N)), MOVED, WITHIN]


def outcome(*arguments):
    """What comes back, or the text of the error."""
    try:
        return apply_decisions(*arguments), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_mutated_file_gives_what_was_decided_or_an_error(lines, data):
    mutations = data.draw(st.lists(st.sampled_from([*HARMLESS, *HARMFUL]), max_size=4))
    order = data.draw(st.sampled_from(ORDERS))
    mutated = [list(line) for line in lines]
    for mutate in mutations:
        mutated = mutate(mutated, data.draw)
    comma = data.draw(st.sampled_from(",;\t"))
    file = written(mutated, comma)
    if data.draw(st.booleans()):
        file = pd.read_csv(file, sep=comma)
    found, error = outcome(TABLE.iloc[order], Y[order], file)
    if found is None:
        assert error.startswith("csv")
        assert set(mutations) & set(HARMFUL), error
        return
    table, y = found
    header = {cell.strip() for cell in mutated[0]}
    if not {"id", "page"} & header and order != list(range(N)):
        return  # positions and given labels only, as a person writes them
    if with_another_cell not in mutations and with_a_swapped_cell not in mutations:
        names, labels = expected(order)
        assert (table.index.tolist(), y.tolist()) == (names, labels)
    else:  # a cell that was changed is what a person meant; rows 0 and 2 are in no line
        decided = dict(zip(table.index, y, strict=True))
        assert {"img_0", "img_2"} <= set(decided)
        assert decided["img_0"] == decided["img_2"] == "cat"


@pytest.mark.parametrize("name", [object(), lambda: 1, (1, object()), [1], np.arange(2)])
def test_ids_that_no_csv_can_hold_are_refused(tmp_path, name):
    ids = np.empty(N, dtype=object)
    ids[:] = [*NAMES[1:], name]
    with pytest.raises(TypeError, match=r"ids must name the rows by strings, .* of type"):
        page_lines(tmp_path, X, ids=ids)
    if hash_of(name) is not None:
        with pytest.raises(TypeError, match=r"the index of X must name the rows by .*Pass ids="):
            page_lines(tmp_path, pd.DataFrame(X, index=pd.Index(ids, tupleize_cols=False)))


def hash_of(name):
    try:
        return hash(name)
    except TypeError:
        return None


def test_ids_with_a_text_of_their_own_find_their_rows(tmp_path):
    ids = pd.date_range("2020-02-03", periods=N)
    for names in (
        ids,
        [*map(str, ids)],
        [(k, "a") for k in range(N)],
        [uuid.UUID(int=k) for k in range(N)],
    ):
        rows, _ = apply_decisions(X, Y, written(page_lines(tmp_path, X, ids=names)), ids=names)
        assert rows.tolist() == X[[0, 1, 2, 4, 5]].tolist()
