"""What a day of reviewing needs: many rows at once, colleagues, other days, and a way back."""

import csv
import io
import json

import numpy as np
import pytest

from sam_attribution.review import apply_decisions, review_page

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from tests.review.browsing import (
    choose,
    click,
    decided,
    exported,
    load,
    press,
    shown,
    text_of,
    wait_for,
)

N = 40
LABELS = np.arange(N) % 4
SUGGESTED = np.where(np.arange(N) % 8 == 7, LABELS, (LABELS + 1) % 4)
IMAGES = np.random.default_rng(0).integers(256, size=(N, 120, 100, 3), dtype=np.uint8)
SAID = {
    "given": LABELS,
    "suggested": SUGGESTED,
    "scores": np.arange(N),
    "classes": range(4),
    "ids": [f"img_{k}" for k in range(N)],
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return review_page(tmp_path_factory.mktemp("day") / "review.html", IMAGES, **SAID)


@pytest.fixture
def page(driver, path):
    load(driver, path, height=900)
    return driver


def kept(driver):
    """Row and decision of all decisions that the browser keeps."""
    text = driver.execute_script(
        "return Object.entries(localStorage).find(([key]) => key.match(/:[0-9a-f]{16}$/))[1]"
    )
    return sorted((row, decision) for row, decision, *_ in json.loads(text)["decisions"])


def lines(file):
    text = file.read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def file_of(folder, name, *rows):
    """A CSV of a colleague: row, decision, label."""
    head = "row,given,decision,label,reviewer,time,note\n"
    text = "".join(
        f"{row},{LABELS[row]},{decision},{label},{name},2026-01-02T03:04:05Z,blurred\n"
        for row, decision, label in rows
    )
    file = folder / f"{name}.csv"
    file.write_text(head + text)
    return file


def name_reviewer(driver, name):
    driver.find_element(By.ID, "reviewer").send_keys(name, Keys.ESCAPE)


def write_note(driver, text):
    press(driver, text)
    keys = ActionChains(driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER)
    keys.key_up(Keys.CONTROL).perform()


def test_the_csv_says_who_decided_when_and_what_about(page, path, tmp_path):
    name_reviewer(page, "jk Ana")  # keys of the page that are letters of a name
    assert decided(page)[0] == ""
    press(page, Keys.HOME, "k", "s", "n")
    write_note(page, "=1+1")
    assert decided(page)[:4] == ["keep", "unsure", "unsure", ""]
    click(page, 0, "note")
    write_note(page, "clear")
    press(page, Keys.HOME, "r")
    file = exported(page, tmp_path)
    found = lines(file)
    assert [(line["row"], line["decision"], line["note"]) for line in found] == [
        ("0", "relabel", '"clear"'),  # a note stays when the row is decided again
        ("1", "unsure", ""),
        ("2", "unsure", '"=1+1"'),
    ]
    assert {line["reviewer"] for line in found} == {'"jk Ana"'}
    assert all(line["time"][:2] == "20" and line["time"][-1] == "Z" for line in found)
    y = apply_decisions(IMAGES, LABELS, file, ids=SAID["ids"])[1]
    assert y.tolist() == [1, *LABELS[1:]]
    load(page, path, height=900, forget=False)
    assert page.find_element(By.ID, "reviewer").get_attribute("value") == "jk Ana"


def test_undo_goes_on_after_the_page_was_closed(page, path):
    press(page, "kxr", "u")
    load(page, path, height=900, forget=False)
    press(page, "u")
    assert kept(page) == [(0, "keep")]
    press(page, "u", "u")
    assert kept(page) == []
    assert text_of(page, "status") == "Nothing to undo."


def test_a_file_of_a_colleague_is_merged_and_conflicts_are_chosen(page, tmp_path):
    press(page, "kks")
    file = file_of(tmp_path, "Bo", (0, "keep", ""), (1, "remove", ""), (2, "relabel", 3))
    page.find_element(By.ID, "file").send_keys(
        f"{file}\n{file_of(tmp_path, 'Cy', (5, 'relabel', 2), (6, 'relabel', 0))}"
    )
    said = "Loaded 3 decisions. 1 row decided differently: choose under Show, conflicts."
    wait_for(page, "status", f"{said} Loaded 2 decisions.")
    both = [(0, "keep"), (1, "keep"), (2, "relabel"), (5, "relabel"), (6, "relabel")]
    assert kept(page) == both
    choose(page, "state", "conflicts")
    told = "r.querySelector('.conflict span').textContent"
    assert shown(page, told) == ["Bo decided: removed."]
    inside = (
        "r.querySelector('[data-do=mine]').getBoundingClientRect().bottom"
        " <= r.querySelector('.labels').getBoundingClientRect().bottom"
    )
    assert shown(page, inside) == [True]
    page.find_element(By.CSS_SELECTOR, "[data-do=theirs]").click()
    assert kept(page)[1] == (1, "remove")
    assert shown(page) == []
    page.find_element(By.ID, "undo").click()
    assert kept(page)[1] == (1, "keep")
    page.find_element(By.CSS_SELECTOR, "[data-do=mine]").click()
    assert kept(page) == both
    choose(page, "state", "conflicts")
    assert shown(page) == []
    for _ in range(3):
        page.find_element(By.ID, "undo").click()
    assert kept(page) == [(0, "keep"), (1, "keep"), (2, "unsure")]


def test_earlier_decisions_are_shown_on_demand_and_taken_over_once(driver, tmp_path):
    file = file_of(tmp_path, "Bo", (1, "remove", ""), (38, "relabel", 3))
    suspicious = np.arange(N) < 5
    page = review_page(
        tmp_path / "page.html", IMAGES, **SAID, suspicious=suspicious, decisions=file, n_rows=10
    )
    load(driver, page, height=900)
    assert shown(driver)[:2] == ["row 0 (img_0)", "row 2 (img_2)"]
    assert text_of(driver, "counter") == "1 of 5 suspicious rows and 1 other decided"
    choose(driver, "state", "decided")
    assert shown(driver) == ["row 1 (img_1)", "row 38 (img_38)"]
    by = shown(driver, "r.querySelector('.decided').textContent")
    assert by[1].startswith("changed to 3, Bo, ")
    press(driver, Keys.ESCAPE, "k")
    assert kept(driver) == [(1, "keep"), (38, "relabel")]
    load(driver, page, height=900, forget=False)
    assert kept(driver) == [(1, "keep"), (38, "relabel")]
    again = review_page(  # judged again: another order, fewer rows, the same table
        tmp_path / "again.html", IMAGES, **SAID | {"scores": -np.arange(N)}, n_rows=5
    )
    load(driver, again, height=900, forget=False)
    assert kept(driver) == [(1, "keep"), (38, "relabel")]
    choose(driver, "state", "decided")
    assert shown(driver) == ["row 38 (img_38)"]
    assert "1 decision about rows that are not on this page" in text_of(driver, "notes")


def test_many_rows_are_decided_with_one_undo(page):
    press(page, "g", " ", Keys.ARROW_RIGHT, Keys.ARROW_DOWN, " ")
    lefts = shown(page, "r.getBoundingClientRect().left")
    per_line = lefts.index(lefts[0], 1)
    assert per_line > 3
    below = per_line + 1
    assert text_of(page, "n-selected") == "2 rows selected"
    card = page.find_element(By.CSS_SELECTOR, f".row[data-item='{below + 1}'] .labels")
    ActionChains(page).key_down(Keys.SHIFT).click(card).key_up(Keys.SHIFT).perform()
    press(page, "r")
    chosen = [0, below, below + 1]
    changed = [(k, "relabel") for k in chosen if LABELS[k] != SUGGESTED[k]]
    assert kept(page) == changed
    assert not page.find_element(By.ID, "selection").is_displayed()
    press(page, "u")
    assert kept(page) == []
    press(page, "a")
    assert text_of(page, "n-selected") == f"{N} rows selected"
    page.find_element(By.CSS_SELECTOR, "[data-all=suggested]").click()
    same = int((LABELS == SUGGESTED).sum())
    assert text_of(page, "status").startswith(f"{N - same} rows decided. {same} rows left as bef")
    page.find_element(By.ID, "undo").click()
    assert kept(page) == []
    press(page, "a")
    choose(page, "class", "2 (10)")  # rows that are no longer shown are no longer selected
    assert not page.find_element(By.ID, "selection").is_displayed()
    press(page, Keys.ESCAPE, "ac", "new", Keys.ENTER)
    assert kept(page) == [(k, "relabel") for k in range(N) if LABELS[k] == 2]


def large_pixels(driver):
    return driver.execute_async_script(
        "const done = arguments[0];"
        "const canvas = document.querySelector('#detail canvas');"
        "document.querySelector('#detail .row').ready.then(() => done([canvas.width, canvas.height,"
        " [...canvas.getContext('2d').getImageData(0, 0, 100, 120).data]]));"
    )


def test_a_row_is_enlarged_in_its_real_size_and_decided_there(page):
    page.find_element(By.CSS_SELECTOR, ".row[data-item='1'] canvas").click()
    width, height, pixels = large_pixels(page)
    assert (width, height) == (100, 120)
    found = np.reshape(pixels, (120, 100, 4))[..., :3]
    np.testing.assert_array_equal(found, IMAGES[1])
    press(page, "x")
    assert decided(page)[1] == "remove"
    np.testing.assert_array_equal(
        np.reshape(large_pixels(page)[2], (120, 100, 4))[..., :3], IMAGES[2]
    )
    press(page, "z")
    assert not page.find_element(By.ID, "detail").is_displayed()
    assert page.switch_to.active_element.get_attribute("data-item") == "2"


@pytest.mark.parametrize(
    ("words", "row"), [("img_3", 3), ("IMG_1", 1), ("row 4", 4), ("#2", 2), ("7", 7)]
)
def test_an_id_or_a_row_number_finds_one_row(page, words, row):
    page.find_element(By.ID, "search").send_keys(words)
    assert shown(page) == [f"row {row} (img_{row})"]


def test_keys_work_under_caps_lock_and_can_be_turned_off(page):
    press_key = (
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], "
        "getModifierState: () => true, bubbles: true}))"
    )
    page.execute_script(press_key, "K")
    page.execute_script(press_key, "X")
    assert decided(page)[:2] == ["keep", "remove"]
    press(page, "?")
    page.find_element(By.ID, "keys-off").click()
    press(page, Keys.ESCAPE, "k")
    assert decided(page)[2] == ""
    press(page, Keys.ARROW_DOWN)
    assert page.switch_to.active_element.get_attribute("data-item") == "3"


def test_tab_leaves_the_list_after_the_controls_of_one_row(page):
    seen = []
    for _ in range(10):
        press(page, Keys.TAB)
        element = page.switch_to.active_element
        seen.append(element.get_attribute("data-do") or element.get_attribute("type"))
        if not page.execute_script("return document.activeElement.closest('.row') !== null"):
            break
    assert seen[:8] == [
        *("checkbox", "keep", "suggested", "other", "unsure", "remove", "note", "enlarge"),
    ]
    assert len(seen) == 9
