"""A golden record: what the public API computes, bit by bit, to be held against later versions.

    OMP_NUM_THREADS=1 python -m benchmarks.golden write FILE.json
    OMP_NUM_THREADS=1 python -m benchmarks.golden compare FILE.json
    OMP_NUM_THREADS=1 python -m benchmarks.golden compare FILE.json --only influence detector

``write`` computes almost three thousand arrays with small networks, all of them seeded, and keeps
of each the SHA-256 of its bytes, its shape and dtype, its mean and its first five numbers; what is
refused is an entry as well, by the kind of the error. ``compare`` computes them again and names
those that are others, or are there on one side only; its exit code is then 1. A change that is not
meant to change numbers should leave every entry as it is; one that is meant to should change no
other entries than those. Either takes about 2.5 minutes of one CPU. ``--only`` takes names of
groups, or how some of them begin.

Bits depend on the machine, on torch and numpy and on the number of threads: compare where the file
was written. Both work on the ``sam_attribution`` that Python finds first, and say which that is.
Names that have moved or changed are looked up under the new name first and the old one after
(``find``, ``attribute_of``), and recorded under the new one, so that the same file serves before
and after.
"""

import argparse
import functools
import hashlib
import importlib
import importlib.metadata
import io
import json
import math
import os
import platform
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn

import sam_attribution
from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    MislabelFilter,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)

SHOWN = 5  # numbers of an array that are kept as they are
NOT_NUMBERS_TO_KEEP = ("seconds", "memory", "trainings", "peak")  # columns: not the same twice
RENAMED_COLUMNS = {"wrong_share": "noise_rate"}
GROUPS = {}


def group(name):
    """Put a function that fills a :class:`Record` among the groups."""

    def keep(function):
        GROUPS[name] = function
        return function

    return keep


# --- names that move -----------------------------------------------------------------------------


def find(name, *places):
    """Return a name of the package from the first of the modules that has it."""
    for place in places:
        try:
            return getattr(importlib.import_module(f"sam_attribution.{place}"), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(places)}.")


def make(name, *args, **settings):
    """An object of a class of methods or retraining."""
    return find(name, "methods", "retraining", "influence")(*args, **settings)


def linalg(name, *args, **settings):
    return find(name, "linalg")(*args, **settings)


def projected(*args, **settings):
    return find("Projected", "methods", "influence")(*args, **settings)


def attribute_of(fitted, *names):
    """Return the first of these attributes that there is."""
    for name in names:
        if hasattr(fitted, name):
            return getattr(fitted, name)
    raise AttributeError(f"{type(fitted).__name__} has none of {', '.join(names)}.")


# --- entries -------------------------------------------------------------------------------------


class Record:
    """Entries of one topic, filled by calling it.

    What raises becomes an entry as well, so that one failure costs one entry.
    """

    def __init__(self, entries, prefix):
        self._entries = entries
        self._prefix = prefix

    def __call__(self, name, value):
        """Keep a number, an array, a text or a list of texts, or what a function returns."""
        with self.watching(name):
            value = value() if callable(value) else value
            self._entries[f"{self._prefix}/{name}"] = entry_of(value)

    def within(self, name):
        return Record(self._entries, f"{self._prefix}/{name}")

    def table(self, name, value):
        """Keep the numeric columns of a DataFrame, or the numbers of a Series, one by one."""
        with self.watching(name):
            value = value() if callable(value) else value
            value = value.to_frame().T.infer_objects() if isinstance(value, pd.Series) else value
            for column in value.select_dtypes(["number", "bool"]):
                if not any(word in str(column) for word in NOT_NUMBERS_TO_KEEP):
                    self(f"{name}/{RENAMED_COLUMNS.get(column, column)}", value[column])

    @contextmanager
    def watching(self, name):
        """Turn what is raised here into an entry."""
        try:
            yield
        except Exception as error:
            message = str(error).splitlines()[0][:200] if str(error) else ""
            self._entries[f"{self._prefix}/{name}"] = {
                "error": type(error).__name__,
                "message": message,
            }


def entry_of(value):
    """What is kept of a value."""
    array = as_array(value)
    if array.dtype.kind in "OUS":
        texts = [str(each) for each in array.ravel().tolist()]
        content = json.dumps(texts).encode()
        return {"shape": list(array.shape), "sha256": digest(content), "first": texts[:SHOWN]}
    numbers = array.ravel()
    numbers = numbers[~np.isnan(numbers)] if array.dtype.kind == "f" else numbers
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "sha256": digest(array.tobytes()),
        "mean": repr(float(numbers.mean(dtype="float64"))) if numbers.size else "none",
        "first": [float(number).hex() for number in numbers[:SHOWN]],
    }


def as_array(value):
    if torch.is_tensor(value):
        value = value.detach().cpu().numpy()
    if isinstance(value, pd.DataFrame | pd.Series):
        value = value.to_numpy()
    array = np.ascontiguousarray(value)
    if array.dtype.kind == "f" and np.isnan(array).any():  # there are many NaNs, in bits
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    return array


def digest(content):
    return hashlib.sha256(content).hexdigest()


def joined(value):
    """All numbers of nested dicts, lists and tensors, in their order, as one float64 array."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        parts = [joined(each) for each in value]
        return np.concatenate(parts) if parts else np.empty(0)
    if value is None or isinstance(value, str):
        return np.empty(0)
    return np.asarray(as_array(value), dtype="float64").ravel()


# --- data and networks ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to train on, and others to ask about."""

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray

    @property
    def held_out(self):
        return ValidationData(self.X_val, self.y_val)

    @property
    def queries(self):
        return self.X_val[:3], self.y_val[:3]

    @property
    def weight(self):
        return np.linspace(0.5, 1.5, len(self.y))


def digits(n, n_val, images=False):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8) if images else X / 16
    return Data(X[:n], y[:n], X[n : n + n_val], y[n : n + n_val])


def iris():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    return Data(X[::2], y[::2], X[1::3], y[1::3])


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), scale(y)
    return Data(X[:150], y[:150], X[150:200], y[150:200])


class SmallCNN(nn.Module):
    """Convolution, batch norm, GELU, mean pooling and a linear head, for images of 8 x 8."""

    def __init__(self, n_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2))
        self.head = nn.Linear(36, n_classes)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))


class Dropping(nn.Sequential):
    """Batch norm and dropout, for flat digits."""

    def __init__(self, n_features, n_classes):
        super().__init__(
            nn.Linear(n_features, 8),
            nn.BatchNorm1d(8),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(8, n_classes),
        )


class Softmax(nn.Sequential):
    """A linear model."""

    def __init__(self, n_features, n_classes):
        super().__init__(nn.Linear(n_features, n_classes))


def mlp_classifier(**settings):
    defaults = {
        "module__n_hidden": 16,
        "lr": 0.1,
        "optimizer__momentum": 0.9,
        "batch_size": 48,
        "max_epochs": 5,
        "trajectory": 5,
        "random_state": 0,
    }
    return SAMClassifier(**defaults | settings)


def cnn_classifier(**settings):
    defaults = {"batch_size": 24, "max_epochs": 4, "trajectory": 4, "random_state": 0}
    return SAMClassifier(SmallCNN, **defaults | settings)


def convex_classifier(**settings):
    defaults = {
        "optimizer__weight_decay": 0.1,
        "dtype": "float64",
        "batch_size": -1,
        "lr": 0.3,
        "max_epochs": 60,
        "random_state": 0,
    }
    return SAMClassifier(Softmax, **defaults | settings)


def small_regressor(**settings):
    defaults = {"module__n_hidden": 8, "max_epochs": 5, "trajectory": 4, "random_state": 0}
    return SAMRegressor(**defaults | settings)


KINDS = {
    "mlp": (mlp_classifier, functools.partial(digits, 240, 60)),
    "cnn": (cnn_classifier, functools.partial(digits, 120, 40, images=True)),
    "convex": (convex_classifier, iris),
    "short": (functools.partial(convex_classifier, max_epochs=5), iris),
    "regressor": (small_regressor, diabetes),
}


@functools.cache
def trained(kind):
    """A fitted network of that kind, frozen, and its data."""
    estimator, data = KINDS[kind][0](), KINDS[kind][1]()
    return FrozenEstimator(estimator.fit(data.X, data.y)), data


def noisy_digits(noise, fraction=0.2):
    """Digits of which some have a wrong label."""
    data = digits(600, 200)
    y = find(noise, "datasets")(data.y, fraction, random_state=0)[0]
    return Data(data.X, y, data.X_val, data.y_val)


def net_of(estimator):
    """The network at the end of what is fitted."""
    if isinstance(estimator, FrozenEstimator):
        return net_of(estimator.estimator)
    return net_of(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


def weights_of(estimator):
    return joined(net_of(estimator).module_.state_dict())


def folds(n=3):
    return StratifiedKFold(n, shuffle=True, random_state=0)


# --- influence -----------------------------------------------------------------------------------


BY_NAME = (
    "arnoldi", "cg", "datainf", "ekfac", "gif", "grad-cos", "grad-dot", "hif", "hif-fast",
    "hif-paper", "if", "lissa", "lissa-h", "relatif", "self-influence", "tracin", "trak",
    "unrolled",
)  # fmt: skip
RETRAINING = ("fixed-point", "further-training", "loo")  # by name with small networks only
CHEAP = ("datainf", "ekfac", "gif", "grad-cos", "grad-dot", "self-influence", "trak")


def fitted_influence(estimator, data, *, sample_weight=None, **settings):
    settings = {"validation": data.held_out, "random_state": 0} | settings
    return SAMInfluence(estimator, **settings).fit(data.X, data.y, sample_weight)


def views(record, influence, data, *, own=False, single=True, classes=True, split=None):
    """Everything that a fitted influence answers, or but that on its `own` and `single` rows."""
    record("scores_", lambda: influence.scores_)
    if single:
        record("attribute", lambda: influence.attribute(*data.queries, split=split))
    record("score_samples", lambda: influence.score_samples(*data.queries))
    if classes:
        record("transform_train_", lambda: influence.transform_train_)
        record("transform", lambda: influence.transform(data.X_val[:3]))
    if own:
        record("self_influence", lambda: influence.self_influence())
    if hasattr(influence, "standard_errors_"):
        record("standard_errors_", influence.standard_errors_)
    record.table("diagnostics_", lambda: influence.diagnostics_)


def attributed(record, kind, method, **options):
    """A method on the frozen network of that kind."""
    with record.watching("fit"):
        estimator, data = trained(kind)
        method = method() if callable(method) else method
        influence = fitted_influence(estimator, data, method=method)
        views(record, influence, data, classes=kind != "regressor", **options)


def all_by_name(record, kind, names=BY_NAME):
    for name in names:
        own = name in CHEAP or (kind == "convex" and name not in RETRAINING)
        attributed(record.within(name), kind, name, own=own)


@group("influence-names")
def influence_names(record):
    record("METHODS", lambda: sorted(find("METHODS", "methods", "influence")))


@group("influence-mlp")
def influence_mlp(record):
    all_by_name(record, "mlp", [name for name in BY_NAME if not name.startswith("lissa")])
    attributed(record.within("lissa"), "mlp", "lissa", single=False)
    some_rows(record, "mlp")


@group("influence-cnn")
def influence_cnn(record):
    all_by_name(record, "cnn")
    some_rows(record, "cnn")


@group("influence-convex")
def influence_convex(record):
    all_by_name(record, "convex", (*BY_NAME, *RETRAINING))
    attributed(record.within("integrated-unrolled"), "short", "integrated-unrolled", single=False)
    methods = {
        "loo, two seeds": lambda: make("LeaveOneOut", rows=[3, 40], n_seeds=2),
        "loo, groups": lambda: make("LeaveOneOut", groups=[[0, 1], [2, 30, 60]]),
        "fixed-point, groups": lambda: make("FixedPoint", groups=[[0, 1], [2, 30, 60]]),
    }
    for name, method in methods.items():
        attributed(record.within(name), "convex", method)


@group("influence-regressor")
def influence_regressor(record):
    all_by_name(record, "regressor")
    some_rows(record, "regressor")


def some_rows(record, kind):
    rows = [3, 7, 11]
    methods = {
        "loo": lambda: make("LeaveOneOut", rows=rows),
        "further-training": lambda: make(
            "FurtherTraining", rows=rows, n_epochs=2, n_seeds=2, random_state=0
        ),
    }
    for name, method in methods.items():
        attributed(record.within(f"{name}, some rows"), kind, method)


def by_lissa(curvature):
    solver = linalg("LiSSA", n_terms=100, tol=1.0, random_state=0)
    return make("InfluenceFunction", solver=solver, curvature=curvature)


DRAWING = {
    "ekfac": lambda: make("EKFAC", random_state=0),
    "ekfac, draws": lambda: make("EKFAC", n_draws=2, random_state=0),
    "lissa": lambda: by_lissa("ggn"),
    "lissa-h": lambda: by_lissa("hessian"),
    "relatif, ekfac": lambda: make(
        "RelatIF", make("EKFAC", random_state=0), normalize="parameters"
    ),
    "trak": lambda: make("TRAK", random_state=0),
    "trak, checkpoints": lambda: make("TRAK", n_checkpoints=2, weighted=True, random_state=0),
    "further-training, mean": lambda: make(
        "FurtherTraining", rows=[3, 7], n_epochs=2, n_seeds=2, adjustment="mean", random_state=0
    ),
}


@group("influence-seeded-objects")
def influence_seeded_objects(record):
    """What draws, with a seed of its own: not touched by what a name stands for."""
    for name, method in DRAWING.items():
        attributed(record.within(name), "mlp", method)
    attributed(record.within("lissa, convex"), "convex", DRAWING["lissa"])
    integrated = functools.partial(make, "IntegratedUnrolled", n_groups=3, random_state=0)
    attributed(record.within("integrated-unrolled"), "mlp", integrated, single=False)
    attributed(record.within("integrated-unrolled, short"), "short", integrated)


@group("influence-outer-seed")
def influence_outer_seed(record):
    """What draws, by name, while the estimator around it has another seed than 0."""
    cases = {"trak": "mlp", "further-training": "short", "integrated-unrolled": "short"}
    for name, kind in cases.items():
        with record.watching(f"{name}/fit"):
            estimator, data = trained(kind)
            influence = fitted_influence(estimator, data, method=name, random_state=3)
            record(f"{name}/scores_", influence.scores_)
    with record.watching("projected/fit"):
        estimator, data = trained("mlp")
        influence = fitted_influence(estimator, data, method="gif", random_state=3)
        record("projected/attribute", influence.attribute(*data.queries, how=projected(64)))


OBJECTS = {
    "gif, checkpoint": lambda: make("GIF", query="checkpoint", n_checkpoints=4),
    "gif, effective": lambda: make("GIF", rates="effective", n_checkpoints=3),
    "gif, every step": lambda: make("GIF", n_checkpoints=None),
    "hif, batches": lambda: make("HIF", damping=0.5, ascent="batch"),
    "hif, ggn": lambda: make("HIF", damping=0.5, curvature="ggn"),
    "hif, fisher": lambda: make("HIF", damping=0.5, curvature="fisher"),
    "hif, cg": lambda: make("HIF", "fast", solver=linalg("CG"), damping=0.5, curvature="ggn"),
    "hif, minres": lambda: make("HIF", "fast", solver=linalg("MINRES"), damping=0.5),
    "if, blocks": lambda: make("InfluenceFunction", damping=0.5, blocks="layer"),
    "if, w+eps": lambda: make("InfluenceFunction", damping=0.5, at="w+eps", stationary=False),
    "tracin, w+eps": lambda: make("TracIn", n_checkpoints=3, at="w+eps"),
    "relatif, if": lambda: make("RelatIF", make("InfluenceFunction", damping=0.5, curvature="ggn")),
    "unrolled, float64": lambda: make("Unrolled", precision="float64", check=None),
    "unrolled, weights": lambda: make("Unrolled", check="weights"),
}


@group("influence-objects")
def influence_objects(record):
    for name, method in OBJECTS.items():
        attributed(record.within(name), "cnn", method, own=name.startswith(("if", "hif")))


SETTINGS = {
    "worst class": {"aggregate": "worst-class", "evaluation": "margin", "validation": folds()},
    "margin": {"evaluation": "margin"},
    "worst class, trak": {
        "aggregate": "worst-class",
        "evaluation": "margin",
        "method": lambda: make("TRAK", random_state=0),
    },
    "own evaluation": {"evaluation": lambda logits, y: (logits.argmax(1) - y).abs() + logits[:, 0]},
    "head, gif": {"parameters": "head"},
    "head, hif": {"parameters": "head", "method": "hif"},
    "bias, hif-fast": {"parameters": "*bias", "method": "hif-fast"},
    "fraction": {"validation": 0.3},
    "folds, hif-fast": {"validation": folds(2), "method": "hif-fast"},
    "batches of 7": {"batch_size": 7},
    "weights, gif": {"sample_weight": True},
    "weights, hif-fast": {"sample_weight": True, "method": "hif-fast"},
    "weights, unrolled": {"sample_weight": True, "method": "unrolled"},
    "another seed, trak": {"method": lambda: make("TRAK", random_state=0), "random_state": 3},
}


@group("influence-settings")
def influence_settings(record):
    for name, settings in SETTINGS.items():
        inner = record.within(name)
        with inner.watching("fit"):
            one_setting(inner, {"method": "gif"} | settings)


def one_setting(record, settings):
    data = KINDS["mlp"][1]()
    settings = {k: v() if k == "method" and callable(v) else v for k, v in settings.items()}
    settings["sample_weight"] = data.weight if settings.pop("sample_weight", False) else None
    influence = fitted_influence(mlp_classifier(max_epochs=3), data, **settings)
    split = 0 if len(influence.estimators_) > 1 else None
    own = settings["method"] == "gif" and "evaluation" not in settings
    views(record, influence, data, own=own, split=split)
    record("suggest_labels", lambda: influence.suggest_labels())
    record("suggest_labels, other rows", lambda: influence.suggest_labels(data.X_val[:5]))
    record("weights", lambda: weights_of(influence.estimator_))


@group("influence-defaults")
def influence_defaults(record):
    """Nothing chosen but the seed."""
    data = iris()
    with record.watching("fit"):
        influence = SAMInfluence(random_state=0).fit(data.X, data.y)
        views(record, influence, data)
        record("weights", lambda: weights_of(influence.estimator_))


@group("influence-pipeline")
def influence_pipeline(record):
    data = digits(150, 50)
    for method in ("gif", "hif-fast"):
        inner = record.within(method)
        with inner.watching("fit"):
            model = make_pipeline(StandardScaler(), mlp_classifier(lr=0.02, max_epochs=3))
            influence = fitted_influence(model, data, method=method)
            views(inner, influence, data)
            frozen = FrozenEstimator(influence.estimator_)
            again = fitted_influence(frozen, data, method=method)
            inner("scores_, frozen", lambda again=again: again.scores_)


@group("influence-reading")
def influence_reading(record):
    """Ways to read training rows against single queries."""
    estimator, data = trained("mlp")
    ways = {
        "tangents": lambda: "tangents",
        "row-gradients": lambda: "row-gradients",
        "projected": lambda: projected(64, random_state=0),
        "projected, no seed": lambda: projected(64),
    }
    for method in ("gif", "hif-fast"):
        with record.watching(f"{method}/fit"):
            influence = fitted_influence(estimator, data, method=method)
            for name, how in ways.items():
                one_reading(record, f"{method}/{name}", influence, data, how)


def one_reading(record, name, influence, data, how):
    record(name, lambda: influence.attribute(*data.queries, how=how()))


@group("influence-explain")
def influence_explain(record):
    for aggregate in ("mean", "worst-class"):
        for method in ("gif", "hif-fast"):
            inner = record.within(f"{method}, {aggregate}")
            with inner.watching("fit"):
                explained(inner, method, aggregate)


def explained(record, method, aggregate):
    estimator, data = trained("mlp")
    influence = fitted_influence(estimator, data, method=method, aggregate=aggregate)
    tables = {
        "explain": lambda: influence.explain(*data.queries, k=3),
        "explain_errors": lambda: influence.explain_errors(data.X_val, data.y_val, k=2, n_errors=4),
    }
    for name, table in tables.items():
        record.table(name, table)
        record(f"{name}/epochs", lambda table=table: table()["epochs"])


@group("influence-remove")
def influence_remove(record):
    estimator, data = trained("mlp")
    for method in ("gif", "tracin", "hif", "hif-fast", "if", "unrolled"):
        inner = record.within(method)
        with inner.watching("fit"):
            influence = fitted_influence(estimator, data, method=method)
            removed(inner, influence, data, verify=2 if method == "unrolled" else 0)
    with record.watching("cnn"):
        estimator, data = trained("cnn")
        influence = fitted_influence(estimator, data, method="unrolled")
        removed(record.within("cnn, unrolled"), influence, data)


def removed(record, influence, data, verify=0):
    with record.watching("remove"):
        edited = influence.remove([1, 5, 17], how="linear", verify=verify)
        record("weights", lambda: weights_of(edited))
        record("predict_proba", lambda: edited.predict_proba(data.X_val[:5]))
        record.table("edit_", lambda: net_of(edited).edit_)
        if verify:
            record.table("verification_", lambda: net_of(edited).verification_)


@group("influence-diagnose")
def influence_diagnose(record):
    for kind in KINDS:
        for method in ("gif", "hif-fast", "unrolled"):
            inner = record.within(f"{kind}, {method}")
            with inner.watching("fit"):
                estimator, data = trained(kind)
                diagnosed(inner, fitted_influence(estimator, data, method=method))
    data = iris()
    for smoothness in ("prediction", "weights", "starts"):
        inner = record.within(f"smoothness, {smoothness}")
        with inner.watching("fit"):
            influence = fitted_influence(convex_classifier(max_epochs=10), data, method="gif")
            diagnosed(inner, influence, smoothness=smoothness)
    with record.watching("seeds"):
        influence = fitted_influence(convex_classifier(max_epochs=5), data, method="gif")
        diagnosed(record.within("seeds"), influence, data.X, data.y, n_seeds=2)


def diagnosed(record, influence, *args, **options):
    with record.watching("diagnose"):
        table = influence.diagnose(*args, **options)
        for line in table.itertuples():
            record(f"{line.check}/value", line.value)
            record(f"{line.check}/status", attribute_of(line, "status", "verdict"))
        record.table("diagnostics_", influence.diagnostics_)


# --- training ------------------------------------------------------------------------------------


def perturbation(name, *args):
    return find(name, "perturbation")(*args)


TRAININGS = {
    "sgd": dict,
    "plain": lambda: {"rho": 0},
    "momentum": lambda: {"optimizer__momentum": 0.9},
    "nesterov": lambda: {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    "adam": lambda: {"optimizer": torch.optim.Adam, "lr": 0.01},
    "amsgrad": lambda: {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True, "lr": 0.01},
    "adamw": lambda: {"optimizer": torch.optim.AdamW, "lr": 0.01},
    "weight decay": lambda: {"optimizer__weight_decay": 0.01, "optimizer__momentum": 0.5},
    "p = 3": lambda: {"perturbation": perturbation("PNorm", 3)},
    "p = 1.5": lambda: {"perturbation": perturbation("PNorm", 1.5)},
    "linf": lambda: {"perturbation": "linf", "rho": 0.01},
    "adaptive": lambda: {"perturbation": "adaptive", "rho": 0.5},
    "adaptive, eta": lambda: {"perturbation": perturbation("Adaptive", 0.1), "rho": 0.5},
    "dropout": lambda: {"module": Dropping},
    "float64": lambda: {"dtype": "float64"},
    "sample weights": lambda: {"sample_weight": True},
    "class weights": lambda: {"criterion__weight": torch.linspace(0.5, 2, 10)},
    "label smoothing": lambda: {"criterion__label_smoothing": 0.1},
    "all states": lambda: {"trajectory": "all"},
    "no states": lambda: {"trajectory": None},
    "in order": lambda: {"iterator_train__shuffle": False, "batch_size": 50},
    "schedule and clipping": lambda: {
        "callbacks": [LRScheduler("CosineAnnealingLR", T_max=3), GradientNormClipping(0.5)]
    },
}


@group("training")
def training(record):
    data = digits(120, 20)
    for name, settings in TRAININGS.items():
        inner = record.within(name)
        with inner.watching("fit"):
            settings = settings()
            weight = data.weight if settings.pop("sample_weight", False) else None
            run(inner, plain_classifier(**settings), data, weight)
    with record.watching("cnn"):
        run(record.within("cnn"), cnn_classifier(max_epochs=2), digits(60, 20, images=True))
    with record.watching("regressor"):
        run(record.within("regressor"), small_regressor(max_epochs=2), diabetes())


def plain_classifier(**settings):
    defaults = {"max_epochs": 3, "trajectory": 3, "random_state": 0}
    default_module = {} if "module" in settings else {"module__n_hidden": 8}
    return SAMClassifier(**defaults | default_module | settings)


def run(record, net, data, weight=None):
    """Train, and keep everything that the training leaves behind."""
    net.fit(data.X, data.y, sample_weight=weight)
    after_training(record, net, data)
    with record.watching("replay"):
        states = list(net.replay(data.X, data.y, sample_weight=weight))
        for part in ("params", "buffers", "optimizer"):
            record(f"replay/{part}", functools.partial(of_states, states, part))


def after_training(record, net, data):
    record("weights", lambda: weights_of(net))
    ask = net.predict_proba if hasattr(net, "predict_proba") else net.predict
    record("predictions", lambda: ask(data.X_val[:5]))
    record("train_loss", lambda: np.array(net.history[:, "train_loss"]))
    trajectory = net.trajectory_
    record("seed", lambda: trajectory.seed)
    record("states/step", lambda: np.array([state.step for state in trajectory.states]))
    for part in ("params", "buffers", "optimizer"):
        record(f"states/{part}", functools.partial(of_states, trajectory.states, part))
    record("stretches", lambda: joined([(s.first, s.middle, s.last) for s in trajectory.stretches]))
    record("schedule/indices", lambda: joined([step.indices for step in trajectory.schedule]))
    for part in ("rates", "perturbation_norm", "rho", "skipped", "gradient_factor"):
        record(f"schedule/{part}", functools.partial(of_schedule, trajectory, part))


def of_states(states, part):
    """Parameters or buffers of states, or what their optimizers remember."""
    parts = [getattr(state, part) for state in states]
    return joined([each["state"] for each in parts] if part == "optimizer" else parts)


def of_schedule(trajectory, part):
    return joined([getattr(step, part) for step in trajectory.schedule])


@group("training-continued")
def training_continued(record):
    """Trained on, with or without a beginning."""
    data = digits(120, 20)
    with record.watching("partial_fit"):
        net = plain_classifier(max_epochs=2).fit(data.X, data.y).partial_fit(data.X, data.y)
        after_training(record.within("partial_fit"), net, data)
    with record.watching("warm_start"):
        net = plain_classifier(max_epochs=2, warm_start=True).fit(data.X, data.y)
        after_training(record.within("warm_start"), net.fit(data.X, data.y), data)


LAST_EPOCH = []  # where Dying ends a training; not a setting, in which the two runs would differ


class Dying(Callback):
    """Ends a training by an error."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) in LAST_EPOCH:
            raise RuntimeError("killed")


@group("training-resumed")
def training_resumed(record):
    settings = {
        "momentum": {"optimizer__momentum": 0.9},
        "adamw": {"optimizer": torch.optim.AdamW, "lr": 0.01},
        "dropout": {"module": Dropping},
    }
    for name, objects in settings.items():
        inner = record.within(name)
        with inner.watching("resume"), tempfile.TemporaryDirectory() as folder:
            resumed(inner, Path(folder) / "run", objects)


def resumed(record, folder, settings):
    data = digits(120, 20)
    settings = {"callbacks": [("dying", Dying())]} | settings
    net = plain_classifier(trajectory_dir=folder, max_epochs=4, **settings)
    LAST_EPOCH.append(2)
    try:
        net.fit(data.X, data.y)
    except RuntimeError:
        record("died after", len(net.history))
    finally:
        LAST_EPOCH.clear()
    again = {k: v for k, v in settings.items() if k in ("optimizer", "module", "callbacks")}
    net = SAMClassifier.resume(folder, data.X, data.y, **again)
    after_training(record, net, data)


# --- wrong labels --------------------------------------------------------------------------------


def detecting_classifier(**settings):
    defaults = {
        "module__n_hidden": 16,
        "lr": 0.2,
        "optimizer__momentum": 0.9,
        "batch_size": 64,
        "max_epochs": 12,
        "random_state": 0,
    }
    return SAMClassifier(**defaults | settings)


def harm(**settings):
    defaults = {"method": "gif", "evaluation": "margin", "aggregate": "worst-class"}
    return SAMInfluence(**defaults | settings)


DETECTORS = {
    "fraction": lambda data: {},
    "validation data": lambda data: {"validation": data.held_out},
    "few validation data": lambda data: {"validation": ValidationData(*data.queries)},
    "folds": lambda data: {"validation": folds()},
    "contamination": lambda data: {"contamination": 0.05},
}
MORE_DETECTORS = {
    "weights": lambda data: {"sample_weight": data.weight},
    "influence": lambda data: {"influence": harm(), "validation": folds()},
    "influence, fraction": lambda data: {"influence": harm()},
    "pipeline": lambda data: {
        "estimator": make_pipeline(StandardScaler(), detecting_classifier(lr=0.05))
    },
    "frozen": lambda data: {
        "estimator": FrozenEstimator(detecting_classifier().fit(data.X, data.y)),
        "validation": data.held_out,
    },
    "no hidden layer": lambda data: {
        "estimator": SAMClassifier(Softmax, max_epochs=5, random_state=0)
    },
}


@group("detector")
def detector(record):
    for noise in ("pair_noise", "symmetric_noise"):
        data = noisy_digits(noise)
        cases = DETECTORS | MORE_DETECTORS if noise == "pair_noise" else DETECTORS
        for name, settings in cases.items():
            inner = record.within(f"{noise}, {name}")
            with inner.watching("fit"):
                detected(inner, fitted_detector(data, **settings(data)))
    with record.watching("clean"):
        detected(record.within("clean"), fitted_detector(digits(600, 200)))


def fitted_detector(data, *, sample_weight=None, **settings):
    settings = {"estimator": detecting_classifier(), "random_state": 0} | settings
    return MislabelDetector(**settings).fit(data.X, data.y, sample_weight)


def detected(record, detector):
    for name in ("scores_", "suspicious_", "suggested_labels_", "contamination_", "transition_"):
        record(name, functools.partial(attribute_of, detector, name))
    record("label_log_proba_", lambda: attribute_of(detector, "label_log_proba_", "what_if_"))
    record.table("score_components_", lambda: attribute_of(detector, "score_components_", "parts_"))
    record.table("diagnostics_", lambda: detector.diagnostics_)
    record("weights", lambda: weights_of(detector.estimator_))


@group("detector-defaults")
def detector_defaults(record):
    data = noisy_digits("pair_noise")
    with record.watching("fit"):
        detected(record, MislabelDetector(random_state=0).fit(data.X, data.y))


@group("review-page")
def review_pages(record):
    """Bytes of pages: they change with every word on them."""
    data = noisy_digits("pair_noise")
    with record.watching("fit"), tempfile.TemporaryDirectory() as folder:
        found, path = fitted_detector(data), Path(folder) / "page.html"
        options = {
            "plain": {},
            "images": {"image_shape": (8, 8), "n_rows": 50},
            "names": {"class_names": list("abcdefghij"), "n_rows": 20, "title": "Ten"},
        }
        for name, settings in options.items():
            record(name, functools.partial(page_of, found, path, data.X, **settings))
    with record.watching("texts"), tempfile.TemporaryDirectory() as folder:
        record("texts", functools.partial(page_of_texts, Path(folder) / "page.html"))


def page_of(found, path, X, **settings):
    return np.frombuffer(Path(found.report(path, X, **settings)).read_bytes(), dtype="uint8")


def page_of_texts(path):
    review_page = find("review_page", "review", "report", "detection")
    rows = ["a purring pet", "a barking pet"]
    labels = {"given": ["cat", "cat"], "suggested": ["cat", "dog"], "scores": [0.9, -0.4]}
    return np.frombuffer(Path(review_page(path, rows, **labels)).read_bytes(), dtype="uint8")


@group("review-decisions")
def review_decisions(record):
    text = "row,given,suggested,decision,label\n0,3,5,relabel,5\n1,3,5,keep,3\n2,5,3,remove,\n"
    apply_decisions = find("apply_decisions", "review", "detection", "report")
    X, y = np.array([[0.1], [0.2], [0.3], [0.4]]), np.array([3, 3, 5, 5])
    X, y = apply_decisions(X, y, io.StringIO(text))
    record("X", X)
    record("y", y)
    label_token = find("label_token", "review", "report", "detection")
    record("label_token", [label_token(label) for label in (1, 2.5, "a b", True, "7")])


@group("filter")
def filters(record):
    data = noisy_digits("pair_noise")
    scorers = {
        "influence": lambda: harm(estimator=detecting_classifier(max_epochs=6), validation=folds()),
        "influence, unseeded": lambda: SAMInfluence(
            detecting_classifier(max_epochs=6, random_state=None), method="tracin"
        ),
        "detector": lambda: MislabelDetector(detecting_classifier()),
        "detector, folds": lambda: MislabelDetector(detecting_classifier(), validation=folds()),
    }
    for name, scorer in scorers.items():
        inner = record.within(name)
        with inner.watching("fit"):
            filtered(inner, data, {"scorer": scorer(), "removal_fraction": 0.2})
    with record.watching("weights"):
        settings = {"scorer": scorers["influence"](), "removal_fraction": 0.1}
        filtered(record.within("weights"), data, settings, data.weight)


def filtered(record, data, settings, weight=None, estimator=None):
    """The classifier, and the filters alone."""
    estimator = detecting_classifier(max_epochs=4) if estimator is None else estimator
    classifier = FilteredClassifier(estimator, random_state=0, **settings)
    classifier.fit(data.X, data.y, sample_weight=weight)
    record("scores_", lambda: classifier.scores_)
    record("kept_", lambda: classifier.kept_)
    record("predict", lambda: classifier.predict(data.X_val))
    record("predict_proba", lambda: classifier.predict_proba(data.X_val))
    rows_that_stay(record.within("MislabelFilter"), MislabelFilter, data, settings, weight)
    with record.watching("MislabelSampler"):
        sampler = find("MislabelSampler", "imblearn")
        rows_that_stay(record.within("MislabelSampler"), sampler, data, settings, weight)


def rows_that_stay(record, filter_class, data, settings, weight):
    with record.watching("fit_resample"):
        rows = filter_class(random_state=0, **settings)
        X, y = rows.fit_resample(data.X, data.y, sample_weight=weight)
        record("X", X)
        record("y", y)
        record("sample_indices_", lambda: rows.sample_indices_)
        record("scores_", lambda: rows.scores_)


@group("filter-defaults")
def filter_defaults(record):
    """Without a scorer."""
    data = noisy_digits("symmetric_noise")
    small = Data(data.X[:200], data.y[:200], data.X_val, data.y_val)
    estimators = {
        "sam": lambda: detecting_classifier(max_epochs=4),
        "logistic regression": lambda: LogisticRegression(max_iter=200, random_state=0),
        "pipeline": lambda: make_pipeline(
            StandardScaler(), detecting_classifier(lr=0.05, max_epochs=4)
        ),
    }
    for name, estimator in estimators.items():
        inner = record.within(name)
        with inner.watching("fit"):
            filtered(inner, small, {}, estimator=estimator())
    with record.watching("default_scorer"):
        default_scorer = find("default_scorer", "filtering", "influence")
        scorer = default_scorer(detecting_classifier(max_epochs=4), random_state=0)
        record("default_scorer/scores_", lambda: scorer.fit(small.X, small.y).scores_)


# --- comparison ----------------------------------------------------------------------------------


@group("comparison")
def comparison(record):
    with record.watching("compare"):
        compared(record.within("compare"))
    with record.watching("leave_one_out"):
        left_out(record.within("leave_one_out"))
    with record.watching("further_training"):
        trained_further(record.within("further_training"))


def compared(record):
    data = iris()
    noisy, wrong = find("pair_noise", "datasets")(data.y, 0.2, random_state=0)
    methods = {name: name for name in ("gif", "hif", "unrolled", "grad-dot", "tracin")}
    methods["trak"] = make("TRAK", random_state=0)
    rows = np.arange(0, len(noisy), 6)
    table, scores = find("compare", "comparison")(
        methods,
        convex_classifier(max_epochs=10),
        data.X,
        noisy,
        validation=data.held_out,
        truth=make("LeaveOneOut", rows=rows),
        wrong=wrong,
        random_state=0,
        return_scores=True,
    )
    record.table("table", table)
    record.table("scores", scores)


def left_out(record):
    data, leave_one_out = iris(), find("leave_one_out", "comparison")
    methods = {
        "rows": lambda: make("LeaveOneOut", rows=[3, 30, 60], n_seeds=2),
        "classes": lambda: make("LeaveOneOut", groups=data.y),
        "fixed point": lambda: make("FixedPoint", rows=[3, 30]),
    }
    for name, method in methods.items():
        with record.watching(name):
            model = convex_classifier(max_epochs=40)
            found = leave_one_out(model, data.X, data.y, data.held_out, method=method())
            for part in ("scores", "standard_errors", "group_effects"):
                value = getattr(found, part)
                record(f"{name}/{part}", "None" if value is None else value)


def trained_further(record):
    data = iris()
    net = convex_classifier(max_epochs=5, batch_size=25).fit(data.X, data.y)
    method = make("FurtherTraining", n_epochs=4, n_seeds=2, rows=[3, 30, 60], random_state=0)
    found = find("further_training", "comparison")(
        net, data.X, data.y, *data.queries, method=method
    )
    for part in ("amounts", "rows", "values", "full"):
        record(part, functools.partial(getattr, found, part))
    for adjustment in ("full-data", "mean"):
        record(f"curves, {adjustment}", found.curves(adjustment))
        record(f"standard errors, {adjustment}", found.standard_errors(adjustment))


# --- arrays in, arrays out -----------------------------------------------------------------------


@group("datasets")
def datasets(record):
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    for kind in ("symmetric_noise", "pair_noise"):
        noise = find(kind, "datasets")
        for labels in (y, names):
            drawn(record.within(kind), noise(labels, 0.3, random_state=1), labels)
    noise = find("instance_dependent_noise", "datasets")
    for labels in (y, names):
        found = noise(X, labels, 0.3, random_state=1)
        drawn(record.within("instance_dependent_noise"), found, labels)


def drawn(record, found, labels):
    for name, value in zip(("y_noisy", "changed"), found, strict=True):
        record(f"{name}, {labels.dtype.kind}", value)


@group("metrics")
def metrics(record):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 30))
    truth = scores + 0.5 * rng.normal(size=(4, 30))
    scores[1, 3], truth[2, 5] = np.nan, np.nan
    agreement = find("agreement", "metrics")
    record.table("agreement", lambda: agreement(scores, truth))
    record.table("over_queries", lambda: find("over_queries", "metrics")(agreement(scores, truth)))
    wrong = rng.random(30) < 0.3
    record.table("detection", lambda: find("detection", "metrics")(scores[1], wrong))
    record("detection_curve", lambda: joined(find("detection_curve", "metrics")(scores[0], wrong)))
    amounts, curves = [1, 2, 5], truth[None] * np.array([1, 2, 3])[:, None, None]
    for name in ("similarities", "similarity_curve"):
        record(name, functools.partial(find(name, "metrics"), scores, curves, amounts))
    with record.watching("linear_datamodelling_score"):
        datamodelling(record.within("linear_datamodelling_score"), rng)
    table = find("removal_curve", "metrics")(
        scores[1], lambda kept: (truth[0] * kept).sum(), n_random=2, random_state=0
    )
    record.table("removal_curve", table[["fraction", "n_removed", "value"]])


def datamodelling(record, rng):
    left_out = rng.random((40, 12)) < 0.5
    scores = rng.normal(size=(3, 12))
    values = scores @ left_out.T + 0.5 * rng.normal(size=(3, 40))
    score = find("linear_datamodelling_score", "metrics")
    found = score(scores, left_out, values, n_bootstrap=100, random_state=0)
    for part in ("value", "low", "high", "per_query"):
        record(part, getattr(found, part))


def own_perturbation():
    """One that has ``eps`` alone: its products come from automatic differentiation."""

    class EpsAlone(find("Perturbation", "perturbation")):
        def eps(self, w, g, rho):
            return rho * torch.tanh(g) / (1 + w * w)

    return EpsAlone()


@group("perturbation")
def perturbations(record):
    kinds = {f"p = {p}": functools.partial(perturbation, "PNorm", p) for p in (1.5, 2, 3, math.inf)}
    kinds["adaptive"] = functools.partial(perturbation, "Adaptive")
    kinds["eps alone"] = own_perturbation
    for dtype in (torch.float64, torch.float32):
        generator = torch.Generator().manual_seed(0)
        w, g, u, v = torch.randn(4, 50, generator=generator, dtype=torch.float64).to(dtype)
        g[3] = 0
        for name, kind in kinds.items():
            inner = record.within(f"{name}, {dtype}")
            with inner.watching("made"):
                products(inner, kind(), w, g, u, v)


def products(record, each, w, g, u, v):
    record("eps", lambda: each.eps(w, g, 0.1))
    record("jvp", lambda: each.jvp(w, g, 0.1, u, v))
    record("vjp", lambda: joined(each.vjp(w, g, 0.1, u)))


SOLVERS = {
    "arnoldi": lambda: linalg("Arnoldi"),
    "arnoldi, 8 steps": lambda: linalg("Arnoldi", n_steps=8),
    "bicgstab": lambda: linalg("BiCGSTAB"),
    "cg": lambda: linalg("CG", tol=1e-10),
    "cg, preconditioned": lambda: linalg(
        "CG", tol=1e-10, preconditioner=linalg("Arnoldi", n_steps=8, measured=False)
    ),
    "direct": lambda: linalg("Direct"),
    "gmres": lambda: linalg("GMRES", restart=10),
    "lissa": lambda: linalg("LiSSA", n_terms=200, random_state=0),
    "minres": lambda: linalg("MINRES"),
    "neumann": lambda: linalg("Neumann"),
}


@group("linalg")
def solvers(record):
    generator = torch.Generator().manual_seed(0)
    R = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    b = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    dense = find("Dense", "linalg")
    operators = {
        "positive definite": linalg("Damped", dense(R @ R.T / 30, symmetric=True), 0.1),
        "non-symmetric": dense(R / 8 + 2 * torch.eye(30, dtype=torch.float64)),
        "blocks": linalg(
            "BlockDiagonal",
            dense(R @ R.T / 30 + torch.eye(30), symmetric=True),
            [torch.arange(0, 12), torch.arange(12, 30)],
        ),
    }
    for name, operator in operators.items():
        record(f"{name}/dense", operator.to_dense)
        for solver, made in SOLVERS.items():
            solved(record.within(f"{name}/{solver}"), made, operator, b)
        record(f"{name}/eigenvalues", functools.partial(eigenvalues, operator))
    sketch = linalg("CountSketch", b[:, 0], 8, torch.Generator().manual_seed(0))
    record("sketch", lambda: sketch.project(b.T))
    record("sketch, expanded", lambda: sketch.expand(sketch.project(b.T)))


def solved(record, solver, operator, b):
    with record.watching("solve"):
        solution = solver().prepare(operator).matmat(b)
        for part in ("x", "n_iter", "residual"):
            record(part, getattr(solution, part))


def eigenvalues(operator):
    found = find("extreme_eigenvalues", "linalg")(operator)
    return np.array([found.radius, found.leftmost, found.rightmost])


# --- the record ----------------------------------------------------------------------------------


def chosen(only):
    """Groups of these names; of a name that is none, those that begin with it."""
    if not only:
        return list(GROUPS)
    found = []
    for name in only:
        some = [name] if name in GROUPS else [each for each in GROUPS if each.startswith(name)]
        if not some:
            raise SystemExit(f"No group begins with {name!r}: {', '.join(GROUPS)}.")
        found += some
    return list(dict.fromkeys(found))


def compute(names):
    """All entries of some groups."""
    entries = {}
    for name in names:
        start = time.process_time()
        np.random.seed(0)  # noqa: NPY002 - whoever asks a global stream should get the same
        torch.manual_seed(0)
        record = Record(entries, name)
        with record.watching("group"):
            GROUPS[name](record)
        n = sum(group_of(key) == name for key in entries)
        print(f"{name}: {n} entries, {time.process_time() - start:.1f} s", file=sys.stderr)
    return entries


def group_of(key):
    return key.partition("/")[0]


def about():
    packages = ("torch", "numpy", "scipy", "scikit-learn", "skorch", "pandas")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return versions | {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def write(path, names):
    entries = compute(names)
    content = {"about": about(), "entries": dict(sorted(entries.items()))}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")
    n_errors = sum("error" in entry for entry in entries.values())
    print(f"{len(entries)} entries in {path}, {n_errors} of them errors")
    return 0


def compare(path, names):
    """Print what is not as it was; 1 if there is anything."""
    recorded = json.loads(Path(path).read_text())
    for name, value in about().items():
        if recorded["about"].get(name) != value:
            print(f"recorded with {name} {recorded['about'].get(name)}, this is {value}")
    old = {k: v for k, v in recorded["entries"].items() if group_of(k) in names}
    new = compute(names)
    lines = [line for key in sorted({*old, *new}) if (line := difference(key, old, new))]
    for line in lines:
        print(line)
    summary(lines, old, new)
    return int(bool(lines))


def difference(key, old, new):
    """A line to read, or nothing."""
    if key not in old:
        return f"only now: {key} = {described(new[key])}"
    if key not in new:
        return f"only in the file: {key} = {described(old[key])}"
    if identity(old[key]) == identity(new[key]):
        return None
    return f"differs: {key}\n    was {described(old[key])}\n    is  {described(new[key])}"


def identity(entry):
    return tuple(str(entry.get(name)) for name in ("error", "dtype", "shape", "sha256"))


def described(entry):
    if "error" in entry:
        return f"{entry['error']}: {entry['message']}"
    kind = f"{entry.get('dtype', 'text')}{entry['shape']}"
    if "mean" not in entry:
        return f"{kind} {entry['first']}"
    first = ", ".join(repr(float.fromhex(number)) for number in entry["first"])
    return f"{kind} mean {entry['mean']} first {first}"


def summary(lines, old, new):
    """A line for each group in which anything is other than it was."""
    for name in sorted({group_of(key) for key in {*old, *new}}):
        of_group = [line for line in lines if line.split(": ", 1)[1].startswith(f"{name}/")]
        if of_group:
            total = sum(group_of(key) == name for key in {*old, *new})
            print(f"{name}: {len(of_group)} of {total} entries are not as they were")
    same = len({*old, *new}) - len(lines)
    print(f"{same} of {len({*old, *new})} entries are the same bits")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["write", "compare"])
    parser.add_argument("file")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help=", ".join(GROUPS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"sam_attribution of {Path(sam_attribution.__file__).parent}", file=sys.stderr)
    action = {"write": write, "compare": compare}[arguments.action]
    return action(arguments.file, chosen(arguments.only))


if __name__ == "__main__":
    sys.exit(main())
