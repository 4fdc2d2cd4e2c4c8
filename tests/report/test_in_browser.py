"""The page as a person uses it, in headless Chromium."""

import json
import time

import numpy as np
import pytest

from sam_attribution.detection import apply_decisions
from sam_attribution.report import review_page

pytest.importorskip("selenium", reason="the page is driven with selenium")

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from benchmarks.chromium import chromium, emulate, installed, save_downloads_in

pytestmark = pytest.mark.skipif(
    None in installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)

LABELS = ["<script>window.ran = 1</script>", '"a", b', "two\nlines", "=1+1", "naïve ☃", "", " "]
N = 14
rng = np.random.default_rng(0)
GIVEN = np.array(LABELS * 2, dtype=object)
SUGGESTED = GIVEN[rng.permutation(N)]
SUGGESTED[:2] = GIVEN[1], GIVEN[1]
SCORES = rng.normal(size=N)
SCORES[[3, 8]] = np.nan
ORDER = np.argsort(SCORES, kind="stable")
SUSPICIOUS = np.nan_to_num(SCORES, nan=9) < 0
PARTS = {"mean loss": rng.normal(size=N), "trusted": SCORES}
TEXTS = [f"text {k} of <b>{'odd' if k % 2 else 'even'}</b>" for k in range(N)]


@pytest.fixture(scope="module")
def driver():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return review_page(
        tmp_path_factory.mktemp("page") / "review.html",
        TEXTS,
        given=GIVEN,
        suggested=SUGGESTED,
        scores=SCORES,
        suspicious=SUSPICIOUS,
        parts=PARTS,
        what_if=rng.dirichlet(np.ones(len(LABELS)), size=N),
        classes=LABELS,
        title="<i>Review</i>",
    )


@pytest.fixture
def opened(driver, path):
    """The page without decisions of an earlier test, all of its rows shown."""
    load(driver, path)
    choose(driver, "state", "all rows")
    press(driver, Keys.ESCAPE)  # from the field back to the rows
    return driver


def load(driver, path, *, height=3000, forget=True):
    emulate(driver, 1360, height)
    driver.get(path.as_uri())
    if forget:
        driver.execute_script("localStorage.clear()")
        driver.get(path.as_uri())


def choose(driver, control, text):
    Select(driver.find_element(By.ID, control)).select_by_visible_text(text)


def press(driver, *keys):
    ActionChains(driver).send_keys(*keys).perform()


def shown(driver, what="r.querySelector('.number').textContent"):
    """Of the rows from the top."""
    return driver.execute_script(
        "return [...document.querySelectorAll('.row')]"
        ".sort((a, b) => a.ariaPosInSet - b.ariaPosInSet).map(r => " + what + ")"
    )


def rows(positions):
    return [f"row {position}" for position in positions]


def decided(driver):
    return shown(driver, "r.dataset.decision")


def text_of(driver, identifier):
    return driver.find_element(By.ID, identifier).text


def click(driver, position, what):
    row = driver.find_element(By.CSS_SELECTOR, f".row[aria-posinset='{position + 1}']")
    row.find_element(By.CSS_SELECTOR, f"[data-do={what}]").click()


def exported(driver, folder):
    """What the page offers to download, once it is there."""
    save_downloads_in(driver, folder)
    driver.find_element(By.ID, "export").click()
    file = folder / "label-decisions.csv"
    for _ in range(200):
        if file.exists() and file.stat().st_size:
            return file
        time.sleep(0.02)
    raise AssertionError("nothing was downloaded")


def test_rows_come_in_order_and_those_not_judged_last(opened):
    assert shown(opened) == rows(ORDER)
    badges = shown(opened, "r.querySelector('.badge').textContent")
    assert badges[-2:] == ["not judged"] * 2
    assert badges[0] == "suspicious #1"
    assert badges[SUSPICIOUS.sum()] == f"suspicion #{SUSPICIOUS.sum() + 1}"


def test_the_page_opens_with_the_suspicious_rows_and_says_what_to_do(driver, path):
    load(driver, path)
    assert shown(driver) == rows(ORDER[: SUSPICIOUS.sum()])
    assert "Keep it, change it or remove the row" in driver.find_element(By.TAG_NAME, "header").text
    assert text_of(driver, "counter") == f"0 of {SUSPICIOUS.sum()} suspicious rows decided"


def test_texts_from_the_data_stay_texts(opened):
    assert shown(opened, "r.querySelector('.text').textContent") == [TEXTS[k] for k in ORDER]
    given = shown(opened, "r.querySelector('.given b').textContent")
    assert given == [GIVEN[k] if GIVEN[k].strip() else repr(GIVEN[k]) for k in ORDER]
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
    press(opened, "c", "no such label", Keys.ENTER, "x")
    assert decided(opened)[:4] == ["relabel", "keep", "remove", ""]


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
        ("part: mean loss", PARTS["mean loss"]),
        ("part: trusted", SCORES),
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


def test_the_csv_comes_back_as_labels(opened, path, tmp_path):
    assert not opened.find_element(By.ID, "export").is_enabled()
    press(opened, Keys.HOME, "krx")
    for label in LABELS:
        press(opened, "c")
        texts = [option.text for option in opened.find_elements(By.CSS_SELECTOR, "#choose option")]
        text = label if label.strip() else repr(label)
        if text.split("\n")[0] in [shown_text[: len(text.split("\n")[0])] for shown_text in texts]:
            press(opened, text.split("\n")[0], Keys.ENTER)
        else:
            press(opened, Keys.ESCAPE, Keys.ARROW_DOWN)
    file = exported(opened, tmp_path)
    before = opened.execute_script("return Object.values(localStorage)[0]")
    expected = GIVEN.copy()
    for row, decision, token in json.loads(before):
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
    wait_for(opened, "status", f"Loaded {len(json.loads(before))} decisions.")
    assert sorted(json.loads(opened.execute_script("return Object.values(localStorage)[0]"))) == (
        sorted(json.loads(before))
    )
    press(opened, Keys.ESCAPE, "u")
    assert decided(opened) == [""] * N


def wait_for(driver, identifier, text):
    for _ in range(200):
        if text_of(driver, identifier) == text:
            return
        time.sleep(0.02)
    raise AssertionError(text_of(driver, identifier))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,label\n1,2\n", "Nothing loaded: the file has no column given, decision."),
        (
            "row;given;decision;label\n0;1;keep;1\n1;0;keep;0\n9;1;keep;1\n",
            "Loaded 1 decisions. Left out 2 that do not fit this page: row 0, 9.",
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
    driver.execute_async_script("setTimeout(arguments[0], 200)")
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
    time.sleep(0.3)  # the colours go over
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
        "[...r.querySelectorAll('button')].every(b => { const a = b.getBoundingClientRect(), "
        "c = r.getBoundingClientRect(); return a.bottom <= c.bottom && a.right <= c.right && "
        "a.height >= 24; })"
    )
    assert all(shown(opened, inside))


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
