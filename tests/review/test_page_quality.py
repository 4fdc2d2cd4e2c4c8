"""Pixels, size, network, contrast and names of the page, in headless Chromium."""

import json

import numpy as np
import pytest

from sam_attribution.review import review_page

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from benchmarks.chromium import emulate
from tests.review.browsing import (
    ORDER,
    N,
    load,
    press,
    shown,
)


@pytest.mark.parametrize("n_channels", [1, 3, 4])
def test_pictures_are_drawn_pixel_for_pixel(driver, tmp_path, n_channels):
    images = np.random.default_rng(0).integers(256, size=(9, 90, 80, n_channels), dtype=np.uint8)
    images[..., 3:] = 255
    labels = np.zeros(9, int)
    order = np.random.default_rng(1).permutation(9)
    page = review_page(
        tmp_path / "page.html", images, given=labels, suggested=labels, scores=np.argsort(order)
    )
    load(driver, page)
    until_ready = "return performance.getEntriesByName('ready').length"
    while not driver.execute_script(until_ready):
        pass
    drawn = shown(
        driver,
        "[...r.querySelector('canvas').getContext('2d').getImageData(0, 0, 80, 90).data]",
    )
    expected = np.full((9, 90, 80, 4), 255)
    expected[..., :3] = images[..., :3]
    assert (np.array(drawn).reshape(expected.shape) == expected[order]).all()


def test_ten_thousand_rows_keep_few_elements(driver, tmp_path):
    labels = np.zeros(10_000, int)
    scores = np.arange(10_000.0)
    scores[77] = np.nan
    page = review_page(
        tmp_path / "page.html", labels[:, None], given=labels, suggested=labels, scores=scores
    )
    load(driver, page, height=900)
    assert 5 < len(shown(driver)) < 30
    for _ in range(12):
        press(driver, "j")
        visible = shown(driver, "[r.getBoundingClientRect().top, r === document.activeElement]")
        (top,) = [top for top, has_focus in visible if has_focus]
        assert 0 < top < 900 - 152
    press(driver, Keys.END)
    assert shown(driver)[-1] == "row 77"
    assert len(shown(driver)) < 30


def test_nothing_is_requested_and_nothing_fails(driver, path):
    driver.get_log("performance")
    driver.get_log("browser")
    load(driver, path)
    press(driver, "krc", Keys.ESCAPE)
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert urls == {path.as_uri()}
    assert driver.get_log("browser") == []


CONTRASTS = r"""
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const hasText = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!hasText || element.matches(":disabled, :disabled *, option, script, noscript")) continue;
  if (!element.checkVisibility()) continue;
  const pair = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort();
  found.push([(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), element.outerHTML]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(opened, scheme):
    press(opened, Keys.HOME, "krx")
    emulate(opened, 1360, 900, scheme)
    low = [(round(c, 2), html) for c, html in opened.execute_script(CONTRASTS) if c < 4.5]
    assert low == []
    background = "getComputedStyle(document.body).backgroundColor"
    darkness = opened.execute_script(f"return {background}.match(/\\d+/g).map(Number)")
    assert (max(darkness) < 60) == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 400, 700, 900, 1100, 1360])
def test_nothing_is_cut_off_on_a_narrow_screen(opened, width):
    emulate(opened, width, 800)
    assert opened.execute_script("return document.scrollingElement.scrollWidth") <= width
    inside = (
        "[...r.querySelectorAll('.actions button')].every(b => { "
        "const [a, c, d] = [b, b.parentElement, r].map(e => e.getBoundingClientRect()); return "
        "a.bottom <= c.bottom && c.bottom <= d.bottom && a.right <= d.right"
        " && a.height >= LEAST; })"
    )
    assert all(shown(opened, inside.replace("LEAST", "44" if width <= 700 else "24")))


def test_names_and_roles_for_those_who_listen(opened):
    assert shown(opened, "[r.ariaSetSize, r.tabIndex]") == [[str(N), 0], *[[str(N), -1]] * (N - 1)]
    label = shown(opened, "r.ariaLabel")[0]
    assert label.startswith(f"row {ORDER[0]}, suspicious #1, given ")
    assert label.endswith(", undecided")
    unnamed = opened.execute_script(
        "return [...document.querySelectorAll('input, select, progress')]"
        ".filter(e => !e.labels.length).map(e => e.id)"
    )
    assert unnamed == []
    assert opened.find_element(By.ID, "status").get_attribute("aria-live") == "polite"


def test_rows_can_be_read_and_decided_on_a_small_screen_and_with_large_text(opened):
    """1280 x 1024 enlarged to 300 and 400 %, and text of twice its size."""
    fits = (
        "const row = document.querySelector('#feed .row.is-current').getBoundingClientRect();"
        "const list = document.getElementById('scroller').getBoundingClientRect();"
        "return [document.scrollingElement.scrollWidth <= innerWidth,"
        " list.height >= Math.min(innerHeight - 1, 300), row.top >= -1 && row.top < innerHeight]"
    )
    try:
        for width, height, size in ((427, 341, 16), (320, 256, 16), (1360, 900, 32)):
            sizes = {"standard": size, "fixed": size}
            opened.execute_cdp_cmd("Page.setFontSizes", {"fontSizes": sizes})
            emulate(opened, width, height)
            press(opened, Keys.HOME, Keys.ARROW_DOWN)
            assert opened.execute_script(fits) == [True, True, True], (width, size)
    finally:
        sizes = {"standard": 16, "fixed": 13}
        opened.execute_cdp_cmd("Page.setFontSizes", {"fontSizes": sizes})


SCROLLERS = """
const canBeReached = (e) => e.tabIndex >= 0 || e.querySelector("button, input, [tabindex='0']");
return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility()
  && e.scrollHeight > e.clientHeight + 1 && !e.matches("select, option")
  && /auto|scroll/.test(getComputedStyle(e).overflowY) && !canBeReached(e)).map((e) => e.outerHTML);
"""


def test_what_scrolls_can_be_reached_by_key(opened):
    for key in ("", "z", "g", "?"):
        press(opened, key)
        assert opened.execute_script(SCROLLERS) == []
        press(opened, Keys.ESCAPE)
    press(opened, "g")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(opened, scheme):
    """In the list, a row enlarged, the grid, and the help."""
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe looks at the page").Axe()
    emulate(opened, 1360, 900, scheme)
    for key in ("", "z", "g", "?"):
        press(opened, key)
        found = axe.run(opened)["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
        press(opened, Keys.ESCAPE)
    press(opened, "g")


def test_texts_of_the_data_have_their_own_direction(opened):
    without = (
        "[...r.querySelectorAll('b, .text, .name, .number')].filter(e => e.dir !== 'auto').length"
    )
    assert set(shown(opened, without)) == {0}
