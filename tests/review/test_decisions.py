import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from sam_attribution.review import apply_decisions, label_token

NASTY = [
    "<script>alert(1)</script>",
    'she said "no", twice',
    "two\nlines\r\n",
    "=1+1",
    "@SUM(A1)",
    "naïve ☃ 日本",
    "\ud800 \x00 \u2028 \ufeff",
    "",
    " ",
    "NaN",
    "1",
    "true",
    "null",
    "a;b\tc",
    "'",
    "\\n",
]


def written(*decisions, comma=","):
    """The CSV of (row, given, decision, label), as the page writes it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=comma)
    writer.writerow(["row", "given", "suggested", "decision", "label"])
    for row, given_label, decision, label in decisions:
        new = "" if label is None else label_token(label)
        writer.writerow([row, label_token(given_label), "", decision, new])
    file.seek(0)
    return file


def csv_text(*lines):
    return io.StringIO("\n".join(["row,given,decision,label", *lines]))


def exactly(labels):
    return [(type(label), label) for label in labels]


LABELS = st.one_of(
    st.lists(st.text(st.characters(exclude_categories=[])), min_size=2, max_size=6),
    st.lists(st.sampled_from(NASTY), min_size=2, max_size=6),
    st.lists(st.integers(), min_size=2, max_size=6),
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=6),
    st.lists(st.booleans(), min_size=2, max_size=6),
    st.lists(st.sampled_from([1, 1.0, "1", True, "1.0", "true"]), min_size=2, max_size=6),
)


@given(LABELS)
def test_labels_of_any_kind_come_back_exactly(labels):
    y = labels + labels[:1]
    changed = labels[1:] + labels[:1]
    decisions = [(k, y[k], "relabel", changed[k]) for k in range(len(labels))]
    X, y_new = apply_decisions(list(range(len(y))), y, written(*decisions))
    assert [*range(len(y))] == X
    assert exactly(y_new) == exactly([*changed, y[-1]])


@pytest.mark.slow
@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_a_token_is_json_on_one_line_that_no_spreadsheet_computes(label):
    token = label_token(label)
    assert exactly([json.loads(token)]) == exactly([label])
    assert token.isprintable()
    assert not token.startswith(("=", "+", "@", "'"))
    assert isinstance(label, str) == token.startswith('"')


@pytest.mark.parametrize("label", NASTY)
def test_a_token_is_the_label_as_json(label):
    assert json.loads(label_token(label)) == label


def test_a_token_reads_well():
    assert label_token("naïve ☃ \u2028") == '"naïve ☃ \\u2028"'
    assert label_token(np.float32(0.5)) == "0.5"


@pytest.mark.parametrize("label", [None, b"cat", ("a", 1), pd.Timestamp("2026-01-01")])
def test_a_label_of_another_type_is_refused(label):
    with pytest.raises(TypeError, match="labels must be strings, numbers or booleans"):
        label_token(label)


Y = ["cat", "cat", "dog", "cow", "dog"]
DECIDED = [(0, "cat", "keep", "cat"), (1, "cat", "relabel", "dog"), (3, "cow", "remove", None)]


@pytest.mark.parametrize(
    "X",
    [
        np.arange(10.0).reshape(5, 2),
        np.arange(5 * 12).reshape(5, 3, 2, 2),
        pd.DataFrame({"a": [1, 2, 3, 4, 5], "b": list("vwxyz")}, index=list("pqrst")),
        pd.Series(list("abcde"), index=[5, 4, 3, 2, 1]),
        ["one", "two", "three", "four", "five"],
        torch.arange(10.0).reshape(5, 2),
        csr_matrix(np.eye(5)),
    ],
    ids=lambda X: type(X).__name__,
)
def test_rows_keep_their_container_and_their_index(X):
    X_new, y_new = apply_decisions(X, Y, written(*DECIDED))
    assert y_new == ["cat", "dog", "dog", "dog"]
    assert type(X_new) is type(X)
    stays = [0, 1, 2, 4]
    if isinstance(X, list):
        assert X_new == [X[k] for k in stays]
    elif hasattr(X, "iloc"):
        assert X_new.equals(X.iloc[stays])
    else:
        dense = (lambda A: A.toarray()) if isinstance(X, csr_matrix) else np.asarray
        np.testing.assert_array_equal(dense(X_new), dense(X)[stays])


@pytest.mark.parametrize(
    "y",
    [
        np.array(Y),
        np.array(Y, dtype=object),
        pd.Series(Y, index=list("pqrst"), name="animal"),
        pd.Series(Y, dtype="category"),
        pd.Series(Y, dtype="string"),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}",
)
def test_labels_keep_their_container_and_the_given_ones_stay(y):
    before = list(y)
    X, y_new = apply_decisions(np.arange(5), y, written(*DECIDED))
    assert X.tolist() == [0, 1, 2, 4]
    assert type(y_new) is type(y)
    assert list(y_new) == ["cat", "dog", "dog", "dog"]
    assert list(y) == before
    assert getattr(y_new, "dtype", None) == getattr(y, "dtype", None)
    if isinstance(y, pd.Series):
        assert y_new.index.equals(y.index[[0, 1, 2, 4]])
        assert y_new.name == y.name


def test_labels_of_a_tensor():
    y = torch.tensor([3, 3, 5])
    X, y_new = apply_decisions(torch.zeros(3, 2), y, written((1, 3, "relabel", 5)))
    assert y_new.dtype == y.dtype
    assert (X.shape, y_new.tolist(), y.tolist()) == ((3, 2), [3, 5, 5], [3, 3, 5])


def test_a_new_class_is_wider_than_the_others():
    decided = written((0, "cat", "relabel", "hippopotamus"))
    _, y = apply_decisions(np.zeros(2), np.array(["cat", "dog"]), decided, classes=["hippopotamus"])
    assert y.tolist() == ["hippopotamus", "dog"]
    _, y = apply_decisions(
        np.zeros(2), np.array([1, 2], np.int8), written((0, 1, "relabel", 300)), classes=[300]
    )
    assert y.tolist() == [300, 2]


def test_a_class_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"label 'a' does not fit into y of dtype int64"):
        apply_decisions(
            np.zeros(2), np.array([1, 2]), written((0, 1, "relabel", "a")), classes=["a"]
        )


def test_no_decision_changes_nothing_and_copies():
    X, y = np.zeros((3, 1)), np.array([0, 1, 2])
    X_new, y_new = apply_decisions(X, y, written())
    X_new[0], y_new[0] = 7, 7
    assert X[0] == 0
    assert y[0] == 0


def test_a_file_with_the_mark_of_its_encoding(tmp_path):
    path = tmp_path / "decisions.csv"
    path.write_text(written((1, "naïve", "relabel", "ok")).read(), encoding="utf-8-sig", newline="")
    for csv_file in (path, str(path)):
        assert apply_decisions([0, 1], ["ok", "naïve"], csv_file) == ([0, 1], ["ok", "ok"])


@pytest.mark.parametrize("comma", [";", "\t"])
def test_other_commas(comma):
    decided = written((1, "a;b", "relabel", "ok, then"), comma=comma)
    assert apply_decisions([0, 1], ["ok, then", "a;b"], decided)[1] == ["ok, then"] * 2


@pytest.mark.parametrize(
    ("y", "line", "expected"),
    [
        (["cat", "dog"], "0,cat,relabel,dog", "dog"),
        ([True, False], "0,TRUE,relabel,FALSE", False),
        ([1.0, 2.0], "0,1,relabel,2", 2.0),
        (["1", "2"], "0,1,relabel,2", "2"),
        (["A", "a"], "0,A,relabel,a", "a"),
        (["a", "A"], "0,a,relabel,A", "A"),
        (["007", "010"], "0,7,relabel,10", "010"),
        (["7", "007"], "0,7,relabel,007", "007"),
        (["007", "7"], "0,007,relabel,7", "7"),
        (["cat", "dog"], "0,cat,Relabel,dog", "dog"),
        (["Cat", "dog"], ' 0 , Cat ,relabel,"""dog"""', "dog"),
    ],
)
def test_what_a_person_or_a_spreadsheet_makes_of_a_label(y, line, expected):
    _, y_new = apply_decisions([0, 1], y, csv_text(line))
    assert exactly(y_new[:1]) == exactly([expected])


@pytest.mark.parametrize(
    "header",
    [
        "Row,Given,DECISION,Label",
        "sep=,\nrow,given,decision,label",
        '"sep=,"\nrow,given,decision,label',
        "row,given,decision,label,Note,note",
    ],
)
def test_a_header_as_a_spreadsheet_writes_it(header):
    decided = io.StringIO(f"{header}\n0,cat,relabel,dog\n")
    assert apply_decisions([0, 1], ["cat", "dog"], decided)[1] == ["dog", "dog"]


def test_a_line_below_the_separator_keeps_its_number():
    decided = io.StringIO("sep=;\nrow;given;decision;label\n0;cat;kept;\n")
    with pytest.raises(ValueError, match=r"csv, line 3 \(row 0\): decision .* got 'kept'"):
        apply_decisions([0, 1], ["cat", "dog"], decided)


def test_a_label_that_pandas_takes_for_nothing_is_named():
    text = "row,given,decision,label\n0,NA,relabel,b\n"
    with pytest.raises(ValueError, match=r"got nothing where y has \"NA\".*keep_default_na=False"):
        apply_decisions([0, 1], ["NA", "b"], pd.read_csv(io.StringIO(text)))
    read = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert apply_decisions([0, 1], ["NA", "b"], read)[1] == ["b", "b"]


def test_a_text_that_can_mean_two_labels_means_none():
    y = np.array([1, "1", "x"], dtype=object)
    with pytest.raises(ValueError, match="the given label must be that of y, got one where"):
        apply_decisions([0, 1, 2], y, csv_text("0,one,keep,"))
    with pytest.raises(ValueError, match="label must be one of"):
        apply_decisions([0, 1, 2], ["a", True, "true"], csv_text('0,"""a""",relabel,True'))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["3,0,keep,0"], r"line 2 \(row 3\): row must be a position from 0 to 2, got '3'"),
        (["-1,0,keep,0"], r"line 2 \(row -1\): row must be a position"),
        (["one,0,keep,0"], r"row must be a position from 0 to 2, got 'one'"),
        (["²,0,keep,0"], r"row must be a position"),
        (["0,1,keep,1"], r"line 2 \(row 0\): the given label must be that of y, got 1 where y has"),
        (["0,0,keep,0", "1,1,kept,1"], r"line 3 \(row 1\): decision must be one of keep, relabel"),
        (["0,0,,"], r"decision must be one of keep, relabel, remove, unsure, got ''"),
        (["0,0,relabel,9"], r"line 2 \(row 0\): label must be one of 0, 1, 2, got '9'"),
        (["0,0,relabel,"], r"label must be one of 0, 1, 2, got ''"),
        (["0,0"], r"decision must be one of"),
        (["0,0,keep,0", "1,1,keep,1", "0,0,remove,"], r"line 4 \(row 0\): a row must have one dec"),
    ],
)
def test_what_is_not_about_these_rows_is_named(lines, message):
    with pytest.raises(ValueError, match=message):
        apply_decisions(np.zeros(3), np.array([0, 1, 2]), csv_text(*lines))


@pytest.mark.parametrize("text", ["", "row,given,label\n0,0,1\n"])
def test_a_missing_column_is_named(text):
    with pytest.raises(ValueError, match=r"csv must have the columns .*decision.* not found"):
        apply_decisions([0], [0], io.StringIO(text))


def test_labels_that_are_not_one_per_row():
    with pytest.raises(ValueError, match="y must hold one value for each of the 3 rows, got 2"):
        apply_decisions([0, 1, 2], [0, 1], written())
    with pytest.raises(ValueError, match="y must have one dimension"):
        apply_decisions(np.zeros(3), np.zeros((3, 1)), written())
