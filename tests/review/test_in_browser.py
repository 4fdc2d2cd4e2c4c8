"""The page as a person uses it, in headless Chromium."""

import numpy as np
import pytest

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from sam_attribution.review import review_page
from tests.review.browsing import (
    COMPONENTS,
    GIVEN,
    LABEL_SCORES,
    LABELS,
    ORDER,
    SCORES,
    SUGGESTED,
    SUSPICIOUS,
    TEXTS,
    N,
    choose,
    click,
    decided,
    load,
    press,
    rows,
    shown,
    text_of,
    wait_for,
    wheel,
)
from tests.review.page_reader import data_of


def seen(label):
    """A label as the page writes it."""
    return label.replace("\n", "␊") if label.strip() else repr(label)


def test_rows_come_in_order_and_those_not_judged_last(opened):
    assert shown(opened) == rows(ORDER)
    badges = shown(opened, "r.querySelector('.badge').textContent")
    assert badges[-2:] == ["not judged"] * 2
    assert badges[0] == "suspicious #1"
    assert badges[SUSPICIOUS.sum()] == f"#{SUSPICIOUS.sum() + 1}"


def test_the_page_opens_with_the_suspicious_rows_and_says_what_to_do(driver, path):
    load(driver, path)
    assert shown(driver) == rows(ORDER[: SUSPICIOUS.sum()])
    assert "Keep it, change it or remove the row" in driver.find_element(By.TAG_NAME, "header").text
    assert text_of(driver, "counter") == f"0 of {SUSPICIOUS.sum()} suspicious rows decided"


def test_texts_from_the_data_stay_texts(opened):
    assert shown(opened, "r.querySelector('.text').textContent") == [TEXTS[k] for k in ORDER]
    given = shown(opened, "r.querySelector('.given b').textContent")
    assert given == [seen(GIVEN[k]) for k in ORDER]
    assert opened.title == "<i>Review</i>"
    assert opened.execute_script("return window.ran") is None
    assert not opened.find_elements(By.CSS_SELECTOR, ".row script, .row b b, h1 i, option script")


def test_keys_decide_and_go_on(opened):
    assert GIVEN[ORDER[1]] != SUGGESTED[ORDER[1]]
    press(opened, "krx", Keys.ARROW_DOWN, "k")
    assert decided(opened)[:6] == ["keep", "relabel", "remove", "", "keep", ""]
    assert shown(opened, "r === document.activeElement").index(True) == 5
    press(opened, "u", Keys.ARROW_UP, Keys.ARROW_UP, "jx", "u")
    assert decided(opened)[:6] == ["keep", "relabel", "remove", "", "", ""]
    press(opened, Keys.HOME, "x", Keys.END, "x")
    assert decided(opened)[0] == decided(opened)[-1] == "remove"


def test_the_suggestion_that_is_the_given_label_changes_nothing(opened, driver):
    alike = int(np.flatnonzero(GIVEN[ORDER] == SUGGESTED[ORDER])[0])
    press(driver, Keys.HOME, *[Keys.ARROW_DOWN] * alike, "r")
    assert decided(driver) == [""] * N
    assert "the suggested label is the given one" in text_of(driver, "status")
    button = f".row[aria-posinset='{alike + 1}'] [data-do=suggested]"
    assert not driver.find_element(By.CSS_SELECTOR, button).is_enabled()


def test_buttons_decide_and_take_back(opened):
    click(opened, 2, "remove")
    click(opened, 5, "keep")
    assert decided(opened)[:6] == ["", "", "remove", "", "", "keep"]
    assert shown(opened, "r.querySelector('[aria-pressed=true]')?.dataset.do")[5] == "keep"
    assert text_of(opened, "status") == f"row {ORDER[5]}: kept as {GIVEN[ORDER[5]]}."
    click(opened, 5, "keep")
    assert decided(opened)[:6] == ["", "", "remove", "", "", ""]
    opened.find_element(By.ID, "undo").click()
    opened.find_element(By.ID, "undo").click()
    assert decided(opened)[:6] == ["", "", "remove", "", "", ""]
    assert opened.find_element(By.ID, "undo").is_enabled()


def test_another_label_is_found_and_chosen(opened):
    assert GIVEN[ORDER[0]] != "naïve ☃"
    press(opened, Keys.HOME, "c", "ÏVE", Keys.ENTER)
    assert decided(opened)[:2] == ["relabel", ""]
    assert text_of(opened, "status") == f"row {ORDER[0]}: changed to naïve ☃."
    press(opened, "c", Keys.ESCAPE, "k")
    assert decided(opened)[:3] == ["relabel", "keep", ""]
    press(opened, "c", "  no such label ", Keys.ENTER)
    assert text_of(opened, "status") == f"row {ORDER[2]}: changed to no such label."
    press(opened, "c", "NO SUCH", Keys.ENTER)  # is in the list from now on
    assert text_of(opened, "status") == f"row {ORDER[3]}: changed to no such label."


def test_filters_and_their_count(opened):
    label = GIVEN[ORDER[0]]
    choose(opened, "class", f"{label} (2)")
    assert shown(opened) == rows([k for k in ORDER if GIVEN[k] == label])
    choose(opened, "class", "any")
    pair = Select(opened.find_element(By.ID, "pair")).options[1].text
    choose(opened, "pair", pair)
    fits = [f"{GIVEN[k]} → {SUGGESTED[k]}" == pair.rsplit(" (", 1)[0] for k in ORDER]
    assert 0 < sum(fits) == int(pair.rsplit("(", 1)[1][:-1])
    assert shown(opened) == rows(ORDER[fits])
    opened.find_element(By.ID, "search").send_keys("nothing like this")
    assert shown(opened) == []
    opened.find_element(By.ID, "show-all").click()
    opened.find_element(By.ID, "search").send_keys("<B>EVEN")
    assert shown(opened) == rows([k for k in ORDER if k % 2 == 0])
    assert text_of(opened, "notes") == f"{N // 2} shown of {N} rows."


def test_a_decided_row_leaves_the_undecided(opened):
    choose(opened, "state", "undecided")
    press(opened, Keys.ESCAPE, "kk")
    assert shown(opened) == rows(ORDER[2:])
    choose(opened, "state", "decided")
    assert shown(opened) == rows(ORDER[:2])
    press(opened, Keys.ESCAPE, "u")
    assert shown(opened) == rows(ORDER[:1])
    choose(opened, "state", "not judged")
    assert shown(opened) == rows([3, 8])


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("row number", np.arange(N)),
        ("given label", [LABELS.index(label) for label in GIVEN]),
        ("suggested label", [LABELS.index(label) for label in SUGGESTED]),
        ("signal: mean loss", COMPONENTS["mean loss"]),
        ("signal: trusted", SCORES),
    ],
)
def test_other_orders(opened, sort, key):
    choose(opened, "sort", sort)
    expected = ORDER[np.argsort(np.asarray(key)[ORDER], kind="stable")]
    assert shown(opened) == rows(expected)


def test_the_help_opens_and_closes(opened):
    press(opened, "?")
    assert "keep the given label" in text_of(opened, "help")
    press(opened, "x", Keys.ESCAPE)
    assert text_of(opened, "help") == ""
    assert decided(opened) == [""] * N


def test_decisions_survive_a_reload(opened, path):
    press(opened, Keys.HOME, "kx")
    load(opened, path, forget=False)
    assert decided(opened)[:3] == ["keep", "remove", ""]
    assert text_of(opened, "counter") == f"2 of {SUSPICIOUS.sum()} suspicious rows decided"
    assert shown(opened, "r === document.activeElement").index(True) == 2


def test_a_browser_that_stores_nothing_says_so(driver, path):
    broken = "Storage.prototype.setItem = () => { throw new DOMException('denied'); }"
    command = "Page.addScriptToEvaluateOnNewDocument"
    identifier = driver.execute_cdp_cmd(command, {"source": broken})
    load(driver, path)
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", identifier)
    assert "This browser keeps nothing for this page" in text_of(driver, "warning")
    press(driver, "k")
    assert decided(driver)[0] == "keep"


def test_bars_say_how_suspicious_and_how_well_each_label_fits(opened):
    ranks = np.argsort(np.argsort(COMPONENTS["mean loss"]))
    first = "[...r.querySelectorAll('.parts .bar')].map(b => b.textContent)[0]"
    assert shown(opened, first) == [f"mean loss#{rank + 1}" for rank in ranks[ORDER]]
    scale = "r.querySelector('.fill').style.transform.slice(7, -1)"
    shares = [float(share) for share in shown(opened, scale)]
    np.testing.assert_allclose(shares, 1 - ranks[ORDER] / (N - 1), atol=1e-6)
    assert shown(opened, "r.querySelectorAll('.parts .value')[1].textContent")[-1] == "\u2013"
    fits = shown(opened, "[...r.querySelectorAll('.fits .name')].map(n => n.textContent)")
    for row, names in zip(ORDER, fits, strict=True):
        best = [LABELS[code] for code in np.argsort(-LABEL_SCORES[row])[:3]]
        best = best if GIVEN[row] in best else [*best, GIVEN[row]]
        texts = [seen(label) for label in best]
        given = [" (given)" if label == GIVEN[row] else "" for label in best]
        assert names == [text + mark for text, mark in zip(texts, given, strict=True)]
    highest = shown(opened, "r.querySelector('.fits .value').textContent")
    assert highest == [f"{100 * LABEL_SCORES[row].max():.0f}\N{NO-BREAK SPACE}%" for row in ORDER]


def test_the_labels_that_fit_best_are_offered_first(opened):
    press(opened, Keys.HOME, "c")
    texts = [option.text for option in Select(opened.find_element(By.ID, "choose-list")).options]
    best = [LABELS[code] for code in np.argsort(-LABEL_SCORES[ORDER[0]])[:3]]
    best = [seen(label) for label in best if label != GIVEN[ORDER[0]]]
    assert [text[: len(label)] for text, label in zip(texts, best, strict=False)] == best
    assert len(texts) == len(LABELS) - 1
    press(opened, Keys.ESCAPE)


def test_two_tabs_agree(opened, path):
    first = opened.current_window_handle
    opened.switch_to.new_window("tab")
    load(opened, path, forget=False)
    press(opened, "x")
    opened.close()
    opened.switch_to.window(first)
    wait_for(opened, "counter", f"1 of {SUSPICIOUS.sum()} suspicious rows decided")
    assert decided(opened)[0] == "remove"


def test_a_key_held_down_decides_once(opened):
    opened.execute_script(
        "for (const repeat of [false, true, true]) document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'x', repeat, bubbles: true}))"
    )
    assert decided(opened).count("remove") == 1


def current(driver):
    """Name of the current row, and True if all of it can be seen."""
    return driver.execute_script(
        "const row = document.querySelector('.is-current'), at = row.getBoundingClientRect();"
        "const screen = document.getElementById('scroller').getBoundingClientRect();"
        "return [row.querySelector('.number').textContent,"
        " at.top >= screen.top && at.bottom <= screen.bottom]"
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A page of images, of which a few fit on a screen."""
    n = 60
    images = np.random.default_rng(0).integers(256, size=(n, 8, 8), dtype=np.uint8)
    labels = np.arange(n) % 10
    return review_page(
        tmp_path_factory.mktemp("digits") / "review.html",
        images,
        given=labels,
        suggested=(labels + 1) % 10,
        scores=np.arange(n),
        ids=[f"img_{k}" for k in range(n)],
    )


@pytest.mark.parametrize(
    ("key", "pixels", "first"),
    [
        *(("krcxj"[k], 320, 2) for k in range(5)),
        (Keys.ARROW_DOWN, 320, 2),
        (Keys.ARROW_UP, 5000, None),
        ("x", 160, 1),
    ],
)
def test_after_scrolling_the_first_key_only_chooses_a_row_that_can_be_seen(
    driver, digits, key, pixels, first
):
    load(driver, digits, height=900)
    wheel(driver, pixels)
    press(driver, key)
    name, is_seen = current(driver)
    assert is_seen
    assert first is None or name == f"row {first} (img_{first})"
    assert not any(decided(driver))
    assert not driver.find_elements(By.CSS_SELECTOR, "dialog[open]")
    assert text_of(driver, "status") == f"Now at {name}, the first row on the screen."
    press(driver, "x")
    assert text_of(driver, "status") == f"{name}: removed."


def test_a_row_that_is_mostly_seen_is_decided_at_once(driver, digits):
    load(driver, digits, height=900)
    wheel(driver, 40)
    press(driver, "x")
    assert text_of(driver, "status") == "row 0 (img_0): removed."


def test_a_focused_button_out_of_sight_decides_nothing(driver, digits):
    load(driver, digits, height=900)
    press(driver, Keys.TAB, Keys.TAB)
    assert driver.switch_to.active_element.get_attribute("data-do") == "keep"
    wheel(driver, 320)
    press(driver, Keys.ENTER)
    assert not any(decided(driver))
    assert current(driver) == ["row 2 (img_2)", True]


def test_another_tab_does_not_move_the_current_row(driver, digits):
    load(driver, digits)
    choose(driver, "state", "undecided")
    press(driver, Keys.ESCAPE, "jj")
    driver.execute_script(
        "const key = Object.keys(localStorage)[0] ?? 'label-review:' + DATA_FINGERPRINT;"
        "localStorage.setItem(key, JSON.stringify({"
        "  decisions: [[0, 'keep', '0', '', '', '']], undo: [], merged: ''}));"
        "dispatchEvent(new StorageEvent('storage', {key}))".replace(
            "DATA_FINGERPRINT", f"'{data_of(digits)['fingerprint']}'"
        )
    )
    assert shown(driver)[0] == "row 1 (img_1)"
    assert current(driver)[0] == "row 2 (img_2)"


def test_a_suggestion_says_how_probable_it_is(opened):
    def percent(row):
        best = np.argsort(-LABEL_SCORES[row])[:3]
        code = LABELS.index(SUGGESTED[row])
        if SUGGESTED[row] == GIVEN[row] or code not in best:
            return ""
        return f"{100 * LABEL_SCORES[row, code]:.0f}\N{NO-BREAK SPACE}%"

    expected = [percent(row) for row in ORDER]
    assert any(expected)
    assert shown(opened, "r.querySelector('.share').textContent") == expected
