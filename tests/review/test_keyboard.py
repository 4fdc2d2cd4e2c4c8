"""A review with the keyboard alone: search, notes, selection, and keys beside the rows."""

import numpy as np
import pytest

from sam_attribution.review import review_page

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.review.browsing import choose, decided, exported, load, press, shown, text_of

N = 30
LABELS = np.array(["cat", "dog", "ship"], dtype=object)[np.arange(N) % 3]
SAID = {
    "given": LABELS,
    "suggested": np.roll(LABELS, 1),
    "scores": np.arange(N),
    "ids": [f"img_{k}" for k in range(N)],
}
TEXTS = [f"text {k}" for k in range(N)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return review_page(tmp_path_factory.mktemp("keys") / "review.html", TEXTS, **SAID)


@pytest.fixture
def page(driver, path):
    load(driver, path, height=900)
    return driver


def focused(driver):
    """Row that has the focus, or else the id or the text of the control that has it."""
    return driver.execute_script(
        "const e = document.activeElement;"
        "return e.dataset.item ? Number(e.dataset.item) : e.id || e.textContent"
    )


def with_key(driver, modifier, *keys):
    ActionChains(driver).key_down(modifier).send_keys(*keys).key_up(modifier).perform()


def selected(driver):
    inputs = driver.find_elements(By.CSS_SELECTOR, "#feed .row.is-selected")
    return sorted(int(row.get_attribute("data-item")) for row in inputs)


def note_text(driver):
    return driver.find_element(By.ID, "note-text").get_attribute("value")


def test_escape_ends_the_search_and_goes_back_to_the_row_before(page):
    press(page, *[Keys.ARROW_DOWN] * 9, "/", "img_2")
    assert shown(page) == ["row 2 (img_2)"]
    press(page, Keys.ESCAPE)
    assert text_of(page, "notes").startswith(f"{N} shown of {N} rows")
    assert page.find_element(By.ID, "search").get_attribute("value") == ""
    assert focused(page) == 9
    press(page, "/", "nothing like this", Keys.ESCAPE)
    assert focused(page) == 9


def test_enter_in_the_search_goes_to_the_row_and_escape_back(page):
    press(page, *[Keys.ARROW_DOWN] * 9, "/", "img_2", Keys.ENTER)
    assert focused(page) == 2
    press(page, "x", Keys.ESCAPE)
    assert focused(page) == 9
    assert len(shown(page)) > 5
    press(page, "/", "7", Keys.BACKSPACE)  # an empty search is none
    assert page.execute_script("return document.querySelector('.is-current').dataset.item") == "9"


def test_a_search_that_finds_nothing_leads_on(page):
    press(page, "/", "nothing like this", Keys.ENTER)
    assert focused(page) == "show-all"
    press(page, Keys.ENTER)
    assert focused(page) == 0


def test_a_note_is_saved_by_tab_and_enter(page):
    press(page, "n", "blurred", Keys.TAB, Keys.ENTER)
    assert shown(page, "r.querySelector('.note').textContent")[0] == "Note: blurred"
    assert focused(page) == 0
    press(page, "c", Keys.TAB, Keys.TAB)
    assert focused(page) == "Change label"


def test_a_note_that_is_not_saved_stays_as_a_draft(page, path, tmp_path):
    press(page, "n", "by Escape", Keys.ESCAPE)
    assert "is not saved. Its text is kept" in text_of(page, "status")
    assert decided(page)[0] == ""
    press(page, Keys.ARROW_DOWN, "n", "by Cancel", Keys.TAB, Keys.TAB, Keys.ENTER)
    load(page, path, height=900, forget=False)
    notes = shown(page, "r.querySelector('.note').textContent")
    assert notes[:3] == ["Note, not saved: by Escape", "Note, not saved: by Cancel", ""]
    choose(page, "state", "with a note")
    assert shown(page) == ["row 0 (img_0)", "row 1 (img_1)"]
    press(page, Keys.ESCAPE, "n")
    assert note_text(page) == "by Escape"
    with_key(page, Keys.CONTROL, Keys.ENTER)
    assert shown(page, "r.querySelector('.note').textContent")[0] == "Note: by Escape"
    exported(page, tmp_path)
    assert text_of(page, "status") == "Downloaded 1 decision. 1 note not saved: Show, with a note."
    press(page, Keys.ESCAPE, Keys.ARROW_DOWN, "n", *[Keys.BACKSPACE] * 9, Keys.ESCAPE)
    assert shown(page) == ["row 0 (img_0)"]


def test_control_and_enter_save_from_every_control_of_the_note(page):
    press(page, "n", "blurred", Keys.TAB, Keys.TAB)
    assert focused(page) == "note-cancel"
    with_key(page, Keys.CONTROL, Keys.ENTER)
    assert shown(page, "r.querySelector('.note').textContent")[0] == "Note: blurred"
    assert not page.find_element(By.ID, "note").is_displayed()


@pytest.mark.parametrize("end", ["save", Keys.ESCAPE])
def test_a_note_or_a_label_in_zoom_goes_back_to_zoom(page, end):
    press(page, "zn", "blurred")
    if end == "save":
        with_key(page, Keys.CONTROL, Keys.ENTER)
    else:
        press(page, end)
    assert not page.find_element(By.ID, "note").is_displayed()
    assert page.find_element(By.CSS_SELECTOR, "#detail .note").text.endswith("blurred")
    press(page, "c", Keys.TAB, Keys.ENTER)
    assert page.find_element(By.CSS_SELECTOR, "#detail .number").text == "row 1 (img_1)"


@pytest.mark.parametrize(
    ("n_decided", "state"), [(5, "undecided"), (3, "suspicious, undecided"), (N, "all rows")]
)
def test_a_page_with_earlier_decisions_opens_with_what_is_left(driver, tmp_path, n_decided, state):
    csv = tmp_path / "decisions.csv"
    lines = [f"{row},{LABELS[row]},keep,\n" for row in range(n_decided)]
    csv.write_text("row,given,decision,label\n" + "".join(lines))
    page = review_page(
        tmp_path / "page.html", TEXTS, **SAID, suspicious=np.arange(N) < 5, decisions=csv
    )
    load(driver, page, height=900)
    shown_state = Select(driver.find_element(By.ID, "state")).first_selected_option.text
    assert shown_state == state
    assert focused(driver) == n_decided % N


def test_when_the_last_row_is_decided_the_keys_lead_on(page):
    choose(page, "state", "undecided")
    choose(page, "class", "cat (10)")
    press(page, Keys.ESCAPE, "ak")
    assert focused(page) == "show-all"
    assert text_of(page, "show-undecided") == "Show the 20 undecided rows"
    with_key(page, Keys.SHIFT, Keys.TAB)
    press(page, Keys.ENTER)
    assert shown(page)[0] == "row 1 (img_1)"
    assert focused(page) == 1


def test_many_rows_that_had_decisions_are_counted_and_come_back_selected(page):
    press(page, "kxs")
    assert text_of(page, "counter") == f"3 of {N} rows decided (1 not sure)"
    press(page, "a")
    assert text_of(page, "n-selected") == f"{N} rows selected, 3 of them decided"
    press(page, "k")
    said = f"{N} rows decided, 3 of them anew. Undo (u) takes all of it back."
    assert text_of(page, "status") == said
    press(page, "u")
    assert decided(page)[:4] == ["keep", "remove", "unsure", ""]
    assert text_of(page, "n-selected") == f"{N} rows selected, 3 of them decided"
    press(page, "x", "u", Keys.ESCAPE, "u")  # no selection belongs to this step
    assert selected(page) == []
    assert decided(page)[:4] == ["keep", "remove", "", ""]


def test_arrows_with_shift_select_a_range(page):
    press(page, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    with_key(page, Keys.SHIFT, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert selected(page) == [2, 3, 4]
    with_key(page, Keys.SHIFT, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP)
    assert selected(page) == [1, 2]
    assert text_of(page, "status") == "2 rows selected."
    press(page, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN)  # ends this range
    with_key(page, Keys.SHIFT, Keys.ARROW_DOWN)
    assert selected(page) == [1, 2, 4, 5]
    with_key(page, Keys.SHIFT, Keys.END)
    assert text_of(page, "n-selected") == f"{2 + N - 4} rows selected"
    press(page, Keys.ESCAPE, Keys.HOME, "g")
    with_key(page, Keys.SHIFT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    lefts = shown(page, "r.getBoundingClientRect().left")
    per_line = lefts.index(lefts[0], 1)
    assert selected(page) == list(range(per_line + 2))


def test_keys_about_rows_need_the_focus_there(page):
    press(page, "k")
    page.execute_script("document.getElementById('help-open').focus()")
    press(page, "u", "k", "a", Keys.ARROW_DOWN)
    assert decided(page)[:2] == ["keep", ""]
    assert selected(page) == []
    assert text_of(page, "status") == "Press Esc first: this key is about the rows."
    press(page, "/", "img_4", Keys.ENTER)  # keys of the head work there
    assert focused(page) == 4
    press(page, Keys.ESCAPE)
    for control in ("export", "help-open"):  # a click does not take the keys away
        page.find_element(By.ID, control).click()
        press(page, Keys.ESCAPE)
        assert focused(page) == 1


def test_escape_in_a_field_keeps_the_selection(page):
    press(page, "a")
    page.find_element(By.ID, "reviewer").send_keys("Ana", Keys.ESCAPE)
    assert text_of(page, "n-selected") == f"{N} rows selected"
    assert focused(page) == 0


def test_download_and_filters_have_keys(page, tmp_path):
    press(page, "d")
    assert text_of(page, "status") == "Nothing is decided yet."
    press(page, "k")
    exported(page, tmp_path)
    press(page, Keys.ESCAPE, "d")
    assert text_of(page, "status") == "Downloaded 1 decision."
    press(page, "f")
    assert focused(page) == "state"
    press(page, Keys.ESCAPE, "i")
    assert focused(page) == 0


def test_folded_filters_open_for_their_keys(page):
    page.execute_script("document.getElementById('filters').open = false")
    press(page, "/", "img_4", Keys.ENTER)
    assert focused(page) == 4


def test_the_given_label_can_be_typed(page):
    press(page, "c", "ca")
    (option,) = [each.text for each in Select(page.find_element(By.ID, "choose-list")).options[:1]]
    assert option == "cat is the given label: Enter keeps it"
    press(page, Keys.ENTER)
    assert text_of(page, "status") == "row 0 (img_0): kept as cat."
