"""CIFAR-10 and CIFAR-100 as torchvision downloads them: 50,000 training and 10,000 test images.

Neither has a validation set: a random half of the test images validates, the other half tests.
The images are not augmented, so that every epoch sees the same rows.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from torchvision import datasets

from benchmarks.papers.setting.small_data import Rows

IMAGES = {"CIFAR-10": "CIFAR10", "CIFAR-100": "CIFAR100"}  # classes of torchvision


def draw(name, seed, n_rows=None):
    """All rows, or `n_rows` of those to train on, as many of each class as that allows."""
    X, y = read(name, train=True)
    X_test, y_test = read(name, train=False)
    mean, std = X.mean((0, 2, 3), keepdims=True), X.std((0, 2, 3), keepdims=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    number_in_class = pd.Series(y[order]).groupby(y[order]).cumcount()
    kept = order[np.argsort(number_in_class, kind="stable")][:n_rows]
    validation, test = np.array_split(rng.permutation(len(y_test)), 2)
    X, X_test = (X - mean) / std, (X_test - mean) / std
    return Rows(
        (X[kept], y[kept]), (X_test[validation], y_test[validation]), (X_test[test], y_test[test])
    )


def read(name, train):
    """Images (n, channels, height, width), float32, and codes; downloaded the first time."""
    root = Path(os.environ["SAM_ATTRIBUTION_DATA"]) / "torchvision"
    found = getattr(datasets, IMAGES[name])(root, train=train, download=True)
    return found.data.transpose(0, 3, 1, 2).astype(np.float32) / 255, np.asarray(found.targets)
