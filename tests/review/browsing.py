"""A review page in a browser: its data, and what a person does and sees."""

import time

import numpy as np
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from benchmarks.chromium import emulate, save_downloads_in

LABELS = ["<script>window.ran = 1</script>", '"a", b', "two\nlines", "=1+1", "naïve ☃", "", " "]
N = 14
_rng = np.random.default_rng(0)
GIVEN = np.array(LABELS * 2, dtype=object)
SUGGESTED = GIVEN[_rng.permutation(N)]
SUGGESTED[:2] = GIVEN[1], GIVEN[1]
SCORES = _rng.normal(size=N)
SCORES[[3, 8]] = np.nan
ORDER = np.argsort(SCORES, kind="stable")
SUSPICIOUS = np.nan_to_num(SCORES, nan=9) < 0
COMPONENTS = {"mean loss": _rng.normal(size=N), "trusted": SCORES}
TEXTS = [f"text {k} of <b>{'odd' if k % 2 else 'even'}</b>" for k in range(N)]


LABEL_SCORES = _rng.dirichlet(np.ones(len(LABELS)), size=N)


def load(driver, path, *, height=3000, forget=True):
    emulate(driver, 1360, height)
    driver.get(path.as_uri())
    if forget:
        driver.execute_script("localStorage.clear()")
        driver.get(path.as_uri())


def choose(driver, control, text):
    Select(driver.find_element(By.ID, control)).select_by_visible_text(text)


def wheel(driver, pixels):
    """Scroll the rows as a mouse does, and wait until they are drawn."""
    origin = ScrollOrigin.from_element(driver.find_element(By.ID, "scroller"))
    ActionChains(driver).scroll_from_origin(origin, 0, pixels).perform()
    driver.execute_script(
        "return new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
    )


def press(driver, *keys):
    ActionChains(driver).send_keys(*keys).perform()


def shown(driver, what="r.querySelector('.number').textContent"):
    """Of the rows from the top."""
    return driver.execute_script(
        "return [...document.querySelectorAll('#feed .row')]"
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


def wait_for(driver, identifier, text):
    for _ in range(200):
        if text_of(driver, identifier) == text:
            return
        time.sleep(0.02)
    raise AssertionError(text_of(driver, identifier))
