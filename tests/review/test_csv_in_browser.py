"""Decisions out of the page as CSV, and into it."""

import json

import numpy as np
import pandas as pd
import pytest

from sam_attribution.review import apply_decisions, review_page

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from tests.review.browsing import (
    GIVEN,
    LABELS,
    ORDER,
    N,
    choose,
    decided,
    exported,
    load,
    press,
    shown,
    wait_for,
)


def stored(driver):
    """What the browser keeps of the decisions: row, decision, label, reviewer, time, note."""
    return json.loads(driver.execute_script("return Object.values(localStorage)[0]"))["decisions"]


def test_the_csv_comes_back_as_labels(opened, path, tmp_path):
    assert not opened.find_element(By.ID, "export").is_enabled()
    press(opened, Keys.HOME, "krx")
    for label in LABELS:
        press(opened, "c")
        texts = [option.text for option in opened.find_elements(By.CSS_SELECTOR, "#choose option")]
        text = label.replace("\n", "␊") if label.strip() else repr(label)
        if text in texts:
            press(opened, text, Keys.ENTER)
        else:
            press(opened, Keys.ESCAPE, Keys.ARROW_DOWN)
    file = exported(opened, tmp_path)
    before = stored(opened)
    expected = GIVEN.copy()
    for row, decision, token, *_ in before:
        if decision == "relabel":
            expected[row] = json.loads(token)
    assert (expected != GIVEN).sum() > len(LABELS) // 2
    X, y = apply_decisions(np.arange(N), GIVEN, file)
    stays = np.arange(N) != ORDER[2]
    assert X.tolist() == np.flatnonzero(stays).tolist()
    assert y.tolist() == expected[stays].tolist()

    load(opened, path)
    choose(opened, "state", "all rows")
    opened.find_element(By.ID, "file").send_keys(str(file))
    wait_for(opened, "status", f"Loaded {len(before)} decisions.")
    assert sorted(stored(opened)) == sorted(before)
    press(opened, Keys.ESCAPE, "u")
    assert decided(opened) == [""] * N


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,label\n1,2\n", "Nothing loaded: the file has no column given, decision."),
        (
            "row;given;decision;label\n0;1;keep;1\n1;0;keep;0\n9;1;keep;1\n",
            "Loaded 1 decision. Left out 2 that do not fit this page: row 0, 9.",
        ),
    ],
)
def test_a_foreign_csv_is_refused(driver, tmp_path, text, message):
    labels = [0, 0, 1]
    page = review_page(
        tmp_path / "page.html", [[1]] * 3, given=labels, suggested=labels, scores=[1, 2, 3]
    )
    load(driver, page)
    (tmp_path / "some.csv").write_text(text)
    driver.find_element(By.ID, "file").send_keys(str(tmp_path / "some.csv"))
    wait_for(driver, "status", message)
    assert decided(driver) == (["", "keep", ""] if "Loaded 1" in message else [""] * 3)


@pytest.mark.parametrize("labels", [[3, 12, 10**20], [0.1, 1e300, -0.0], [False, True]])
def test_numbers_and_booleans_come_back(driver, tmp_path, labels):
    given, suggested = labels, labels[1:] + labels[:1]
    page = review_page(
        tmp_path / "page.html", labels, given=given, suggested=suggested, scores=range(len(labels))
    )
    load(driver, page)
    press(driver, "r" * len(labels))
    X, y = apply_decisions(labels, given, exported(driver, tmp_path))
    assert labels == X
    assert [(type(label), str(label)) for label in y] == [
        (type(label), str(label)) for label in suggested
    ]


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (["cat", "dog"], "0,cat,relabel,dog"),
        ([True, False], "0,TRUE,relabel,FALSE"),
        ([1.0, 2.0], "0,1,relabel,2"),
        (["1", "2"], '0,1,relabel,"""2"""'),
    ],
)
def test_what_a_spreadsheet_makes_of_labels_is_loaded(driver, tmp_path, labels, line):
    page = review_page(
        tmp_path / "page.html", labels, given=labels, suggested=labels[::-1], scores=[1, 2]
    )
    load(driver, page)
    (tmp_path / "some.csv").write_text(f"row,given,decision,label\n{line}\n")
    driver.find_element(By.ID, "file").send_keys(str(tmp_path / "some.csv"))
    wait_for(driver, "status", "Loaded 1 decision.")
    assert shown(driver, "r.querySelector('[aria-pressed=true]')?.dataset.do") == [
        "suggested",
        None,
    ]


NAMES = ["=a", "b,c", "naïve", "7"]
KINDS = np.array(["cat", "dog", "cat", "dog"])


@pytest.fixture
def named(driver, tmp_path):
    """A page of rows with ids, and where it lies."""
    page = review_page(
        tmp_path / "named.html",
        pd.DataFrame(np.eye(4), index=NAMES),
        given=KINDS,
        suggested=KINDS[::-1],
        scores=range(4),
    )
    load(driver, page)
    return page


def test_decisions_go_by_id_through_page_and_table(driver, named, tmp_path):
    press(driver, "rxk")
    file = exported(driver, tmp_path)
    assert file.read_text(encoding="utf-8-sig").startswith(
        "row,id,given,suggested,decision,label,page,reviewer,time,note\n"
    )
    order = [3, 1, 0, 2]
    table = pd.DataFrame(np.eye(4), index=NAMES).iloc[order]
    rows, y = apply_decisions(table, KINDS[order], file)
    assert rows.index.tolist() == ["7", "=a", "naïve"]
    assert y.tolist() == ["dog", "dog", "cat"]
    with pytest.raises(ValueError, match="the page was made of other rows"):
        apply_decisions(table[::-1], KINDS[order], file)

    moved = review_page(  # a page of the same rows in another order takes the file
        tmp_path / "moved.html", table, given=KINDS[order], suggested=KINDS, scores=range(4)
    )
    load(driver, moved)
    driver.find_element(By.ID, "file").send_keys(str(file))
    wait_for(driver, "status", "Loaded 3 decisions.")
    assert decided(driver) == ["", "remove", "relabel", "keep"]


def test_a_file_of_another_page_is_not_loaded(driver, named, tmp_path):
    press(driver, "k")
    file = exported(driver, tmp_path)
    other = review_page(
        tmp_path / "other.html",
        pd.DataFrame(np.eye(4), index=NAMES),
        given=["cat"] * 4,
        suggested=KINDS,
        scores=range(4),
    )
    load(driver, other)
    driver.find_element(By.ID, "file").send_keys(str(file))
    message = "Loaded 0 decisions. Left out 1 that do not fit this page: row 0."
    wait_for(driver, "status", message)


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("0.0;;1.0;;relabel;2.0;\n;;;;;;\n", "relabel"),
        (";r0;1;;remove;;\n", "remove"),
        (";r1;1;;remove;;\n", ""),
    ],
)
def test_a_file_that_a_spreadsheet_saved_is_loaded(driver, tmp_path, line, decision):
    page = review_page(
        tmp_path / "page.html",
        [[1], [2]],
        given=[1, 2],
        suggested=[2, 1],
        scores=[1, 2],
        ids=["r0", "r1"],
    )
    load(driver, page)
    (tmp_path / "some.csv").write_text(f"row;id;given;suggested;decision;label;page\n{line}")
    driver.find_element(By.ID, "file").send_keys(str(tmp_path / "some.csv"))
    wait_for(
        driver,
        "status",
        "Loaded 1 decision."
        if decision
        else "Loaded 0 decisions. Left out 1 that do not fit this page: row r1.",
    )
    assert decided(driver)[0] == decision
