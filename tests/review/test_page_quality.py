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


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A page of pictures of several sizes, with long ids and labels."""
    pil = pytest.importorskip("PIL.Image")
    sizes = [(160, 160), (160, 120), (60, 40), (1920, 1280)]
    rng = np.random.default_rng(0)
    pixels = [rng.integers(256, size=(h, w, 3), dtype=np.uint8) for w, h in sizes]
    return review_page(
        tmp_path_factory.mktemp("photographs") / "page.html",
        [pil.fromarray(each) for each in pixels],
        given=["automobile"] * 4,
        suggested=["automobile", "ship", "ship", "ship"],
        scores=np.arange(4),
        ids=["automobile/img0.jpg", *(f"a/long/folder/of/photos/img{k}.jpg" for k in (1, 2, 3))],
    )


def test_small_pictures_are_whole_times_larger_in_the_list(driver, tmp_path, photographs):
    for side, shown_side in ((8, 128), (28, 112), (60, 120), (90, 90)):
        images = np.zeros((2, side, side), np.uint8)
        labels = np.zeros(2, int)
        page = review_page(
            tmp_path / f"{side}.html", images, given=labels, suggested=labels, scores=[1, 2]
        )
        load(driver, page)
        width = "r.querySelector('canvas').getBoundingClientRect().width"
        assert shown(driver, width) == [shown_side] * 2
    load(driver, photographs)
    assert shown(driver, width) == [96] * 4


def enlarged(driver):
    """Caption, width and height of the enlarged image, and the text of the button beside it."""
    return driver.execute_async_script(
        "const done = arguments[0];"
        "document.querySelector('#detail .row').ready.then(() => {"
        " const {width, height} = document.querySelector('#detail canvas').getBoundingClientRect();"
        " const button = document.getElementById('detail-other');"
        " done([document.getElementById('detail-size').textContent, Math.round(width),"
        "  Math.round(height), button.hidden ? '' : button.firstElementChild.textContent]); });"
    )


def test_an_image_is_enlarged_in_its_real_size_and_in_another(driver, photographs):
    load(driver, photographs, height=900)
    press(driver, "z")
    assert enlarged(driver) == ["160 x 160 pixels, shown at 100 %", 160, 160, "Larger"]
    press(driver, "f")
    said, width, height, button = enlarged(driver)
    assert (width, button) == (height, "Smaller")
    assert said == f"160 x 160 pixels, shown at {100 * width / 160:.0f} %"
    assert width > 500
    press(driver, Keys.ARROW_DOWN)  # the choice stays
    assert enlarged(driver)[3] == "Smaller"
    driver.find_element(By.CSS_SELECTOR, "#detail canvas").click()
    assert enlarged(driver) == ["160 x 120 pixels, shown at 100 %", 160, 120, "Larger"]
    press(driver, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    said, width, _, button = enlarged(driver)
    assert said == f"1920 x 1280 pixels, shown at {100 * width / 1920:.0f} %"
    assert 500 < width < 1024
    press(driver, "f")
    assert enlarged(driver)[:2] == ["1920 x 1280 pixels, shown at 53 %", 1024]  # as the page has it
    assert driver.execute_script(SCROLLERS) == []
    press(driver, "f")


@pytest.mark.parametrize(("width", "key"), [(1360, ""), (1360, "g"), (390, ""), (390, "g")])
def test_ids_and_labels_can_be_read_in_list_and_grid(driver, photographs, width, key):
    load(driver, photographs, height=900)
    emulate(driver, width, 900)
    press(driver, "x", key)
    number = "r.querySelector('.number')"
    assert shown(driver, f"{number}.title")[1] == "row 1 (a/long/folder/of/photos/img1.jpg)"
    texts = shown(driver, f"{number}.textContent")
    assert texts[:2] == ["row 0 (automobile/img0.jpg)", "row 1 (…lder/of/photos/img1.jpg)"]
    cut = (
        "[...r.querySelectorAll('.number, .badge, .label b, .label .caption, .decided,"
        " .actions button span')].filter(e => e.checkVisibility() && (e.scrollHeight >"
        " e.clientHeight + 2 && getComputedStyle(e).display !== 'inline' || e.scrollWidth >"
        " e.clientWidth && getComputedStyle(e).overflow === 'hidden' ||"
        " e.getBoundingClientRect().bottom > r.getBoundingClientRect().bottom))"
        ".map(e => e.textContent)"
    )
    assert shown(driver, cut) == [[]] * 4
    heights = shown(driver, "r.querySelector('.label b').getBoundingClientRect().height")
    assert max(heights) < 30  # "automobile" on one line


def test_the_head_leaves_a_phone_to_the_rows(driver, photographs):
    load(driver, photographs)
    emulate(driver, 390, 844)
    head = "return document.querySelector('header').getBoundingClientRect().height"
    assert driver.execute_script(head) < 844 / 5
