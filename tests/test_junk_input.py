"""Whatever comes in, there is a result, or a ValueError or TypeError that names the argument.

A few examples per call, the same ones at every run. To look further, with others each time:
``JUNK_EXAMPLES=1000 pytest tests/test_junk_input.py``.

What the user's own code raises passes through as it is: a module's ``forward`` given rows that it
does not take, an evaluation function, a loader.
"""

import os
import re
import warnings
from datetime import date
from inspect import signature
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from torch import nn

from sam_attribution.datasets import instance_dependent_noise, pair_noise, symmetric_noise
from sam_attribution.filtering import FilteredClassifier, MislabelFilter
from sam_attribution.influence import SAMInfluence
from sam_attribution.linalg import GMRES, Dense, Direct, Neumann
from sam_attribution.methods import GIF, HIF, InfluenceFunction, SelfInfluence, TracIn
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData

EXAMPLES = int(os.environ.get("JUNK_EXAMPLES", "0"))
examples = settings(
    max_examples=EXAMPLES or 10,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

N = 12
X = np.random.default_rng(0).normal(size=(N, 3))
y = np.arange(N) % 2
HELD_OUT = ValidationData(X[:6] + 0.1, y[:6])
CLASSIFIER = SAMClassifier(max_epochs=1, batch_size=6, random_state=0)

# Of a wrong array numpy and scikit-learn say what is wrong with it, not always whose it is
OF_ROWS = (
    r"array|sample|feature|sparse|matrix|convert|float\(\)|int\(\)|dtype|omplex|rows|dimension|\bNA"
)
OF_LABELS = r"label|class|target|array|sample|sequence|dtype|rows|multi|omplex|NaN|\bNA"
SAID_OTHERWISE = {
    "X": OF_ROWS + "|NaN",
    "X_query": OF_ROWS + r"|NaN|\bX\b",
    "y": OF_LABELS,
    "y_query": OF_LABELS,
    "classes": OF_LABELS,
    "sample_weight": r"weight|" + OF_ROWS + "|NaN",
    "random_state": "seed|Seed",
    "validation": "splits|fold",
    "split": "splits",
    "eta": "perturbation",
    "path": "manifest",
}


def check(call, arguments, names):
    error = refusal(call, arguments)
    said = "|".join(rf"\b{name}\b|{SAID_OTHERWISE.get(name, name)}" for name in names)
    assert error is None or re.search(said, str(error)), f"{names} not named: {error!r}"


def refusal(call, arguments):
    """The error that is raised, as far as it is one of the two."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            call(**arguments)
        except (ValueError, TypeError) as error:
            return error
    return None


VALUES = [
    None, True, 0, 1, -1, 2, 10**30, -(10**400), 10**400, 0.0, 0.5, -0.5, 1.5, 1e-320, 1e300,
    np.nan, np.inf, -np.inf, 1j, "", "a", "all", "auto", "cuda", "meta", "cpu:0", "foo:3", b"x",
    (), (1,), [1, 2], [[1, 2]], ["a"], [None], {}, {"a": 1}, {1}, range(3), slice(3), iter([1]),
    object(), object, int, len, str, Ellipsis, Exception, date(2020, 1, 1), np.float32(0.5),
    np.int8(3), np.str_("b"), np.datetime64("NaT"), np.array(0.5), np.array([1, 2]), np.array([]),
    np.ma.masked, pd.NA, pd.NaT, pd.Series([1, 2]), sp.eye(3), torch.tensor([1.0, 2.0]),
    torch.device("cpu"), torch.float32, SAMClassifier, CLASSIFIER, LogisticRegression(), KFold,
    KFold(2), KFold(50), np.random.default_rng(0), GIF, GIF(), PNorm, PNorm(), HELD_OUT,
    ValidationData(X[:, :2], y), ValidationData(X, list("abcabcabcabc")),
]  # fmt: skip
values = st.sampled_from(VALUES)


def objects(items):
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


ODD = [0, 1, 2, -1, 1.5, None, "a", "b", b"b", True, np.nan, 10**400, (1,), [1, 2], {}, object()]
DTYPES = ["f4", "f8", "f2", "i1", "i8", "u8", "?", "c16", "U3", "S3", "M8[D]", "m8[s]"]
SHAPES = [
    (), (0,), (1,), (N,), (N, 1), (N, 3), (N, 0), (0, 3), (1, 3), (N - 1, 3), (N + 1, 3), (N, 2),
    (N, 3, 2), (N, 3, 1, 1), (1, N), (N, N), (N - 1,), (2 * N,),
]  # fmt: skip
shapes = st.sampled_from(SHAPES)
any_array = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, shapes)) | st.builds(
    lambda shape, items: objects((items * 432)[: int(np.prod(shape))]).reshape(shape),
    shapes,
    st.lists(st.sampled_from(ODD), min_size=1, max_size=N),
)
CONTAINERS = {
    "array": np.asarray,
    "list": lambda array: array.tolist(),
    "dict": lambda array: dict(enumerate(array)),
    "named": lambda array: {"X": array},
    "iterator": iter,
    "reversed": lambda array: array[::-1],
    "frame": pd.DataFrame,
    "category": lambda array: pd.DataFrame(array).astype("category"),
    "series": pd.Series,
    "csr": sp.csr_array,
    "coo": sp.coo_matrix,
    "dok": sp.dok_array,
    "tensor": torch.tensor,
    "half": lambda array: torch.tensor(array).half(),
    "leaf": lambda array: torch.tensor(array).float().requires_grad_(),
    "complex": lambda array: torch.tensor(array).to(torch.complex64),
    "sparse tensor": lambda array: torch.tensor(array).to_sparse(),
}


def contained(kind, array):
    try:
        return CONTAINERS[kind](array)
    except (ValueError, TypeError, IndexError, RuntimeError):  # takes no such array
        return array


def in_any_container(strategy):
    return st.builds(contained, st.sampled_from(list(CONTAINERS)), strategy)


def spoilt(array):
    """The array with one entry that is not as it should be."""

    def spoil(row, value):
        bad = array.astype(float)
        bad[row] = value
        return bad

    wrong = st.sampled_from([np.nan, np.inf, 1e300, -1e39, 1e-320, 5e8, -1.0])
    return st.builds(spoil, st.integers(0, N - 1), wrong)


def near(array):
    """Junk in the place of `array`, and the array itself in any container."""
    return in_any_container(any_array | spoilt(array) | st.just(array)) | values


labels = in_any_container(
    st.lists(st.sampled_from(ODD), min_size=N, max_size=N).map(objects)
    | st.sampled_from([0, 7, "a", 2.5, None]).map(lambda label: np.array([label] * N))
    | st.sampled_from([np.arange(N), np.arange(N) / 3, y + 5, y[:-1], np.eye(2)[y]])
)
weights = in_any_container(st.sampled_from([np.zeros(N), -np.ones(N), np.ones(N - 1), np.eye(N)]))
JUNK = {
    "X": near(X),
    "X_query": near(X),
    "y": labels | near(y),
    "y_query": labels | near(y),
    "classes": labels | values,
    "sample_weight": weights | near(np.ones(N)),
}
FOLDER = TemporaryDirectory()  # of a finished run
GOOD = {
    "X": X, "y": y, "X_query": X, "y_query": y, "sample_weight": np.ones(N), "classes": [0, 1],
    "start": 0, "stop": 1, "split": None, "k": 2, "fraction": 0.2, "random_state": 0,
    "path": FOLDER.name,
}  # fmt: skip


@st.composite
def some_junk(draw, names, strategies):
    changed = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    return {name: draw(strategies.get(name, values)) for name in changed}


class Scorer(BaseEstimator):
    """Scores that do not look at the rows."""

    def fit(self, X, y):
        self.scores_ = np.arange(len(y))
        return self


def classifier(**settings):
    return SAMClassifier(**{**CLASSIFIER.get_params(deep=False), **settings})


def regressor(**settings):
    return SAMRegressor(**{"max_epochs": 1, "batch_size": 6, "random_state": 0, **settings})


def influence(**settings):
    defaults = {"estimator": CLASSIFIER, "validation": 0.5, "random_state": 0}
    return SAMInfluence(**defaults | settings)


def filtered(**settings):
    defaults = {"estimator": CLASSIFIER, "scorer": Scorer(), "removal_fraction": 0.1}
    return FilteredClassifier(**defaults | settings)


FITTED, JUDGED, FILTERED = (make().fit(X, y) for make in (classifier, influence, filtered))
REGRESSOR, REGRESSION = regressor().fit(X, y), influence(estimator=regressor()).fit(X, y)
classifier(trajectory_dir=FOLDER.name).fit(X, y)
FOLDS = {"validation": KFold(2), "aggregate": "worst-class", "evaluation": "margin"}
CALLS = {
    "fit": (lambda **a: classifier().fit(**a), "X y sample_weight"),
    "partial_fit": (lambda **a: classifier().partial_fit(**a), "X y classes sample_weight"),
    "goes on": (
        lambda **a: classifier().fit(X, y).partial_fit(**a),
        "X y classes sample_weight",
    ),
    "predict": (FITTED.predict, "X"),
    "predict_proba": (FITTED.predict_proba, "X"),
    "score": (lambda X: FITTED.score(X, y), "X"),
    "to_tensors": (FITTED.to_tensors, "X y"),
    "replay": (lambda **a: list(FITTED.replay(**a)), "X y start stop"),
    "resume": (SAMClassifier.resume, "path X y"),
    "regressor": (lambda **a: regressor().fit(**a), "X y sample_weight"),
    "regressor goes on": (lambda **a: regressor().fit(X, y).partial_fit(**a), "X y sample_weight"),
    "regressor predict": (REGRESSOR.predict, "X"),
    "regressor to_tensors": (REGRESSOR.to_tensors, "X y"),
    "influence": (lambda **a: influence().fit(**a), "X y sample_weight"),
    "regression": (lambda **a: influence(estimator=regressor()).fit(**a), "X y sample_weight"),
    "regression score_samples": (REGRESSION.score_samples, "X y"),
    "regression attribute": (REGRESSION.attribute, "X_query y_query split"),
    "regression validation": (
        lambda **a: influence(estimator=regressor(), validation=ValidationData(**a)).fit(X, y),
        "X y",
    ),
    "folds": (lambda **a: influence(**FOLDS).fit(**a), "X y sample_weight"),
    "score_samples": (JUDGED.score_samples, "X y"),
    "transform": (JUDGED.transform, "X"),
    "attribute": (JUDGED.attribute, "X_query y_query split"),
    "explain": (JUDGED.explain, "X_query y_query k split"),
    "suggest_labels": (JUDGED.suggest_labels, "X"),
    "filtered": (lambda **a: filtered().fit(**a), "X y sample_weight"),
    "filtered by influence": (
        lambda **a: filtered(scorer=None).fit(**a),
        "X y sample_weight",
    ),
    "filtered predict": (FILTERED.predict, "X"),
    "filtered predict_proba": (FILTERED.predict_proba, "X"),
    "filter": (
        lambda **a: MislabelFilter(Scorer(), removal_fraction=0.1).fit_resample(**a),
        "X y sample_weight",
    ),
    "ValidationData": (ValidationData, "X y"),
    "validation": (lambda **a: influence(validation=ValidationData(**a)).fit(X, y), "X y"),
    "symmetric_noise": (symmetric_noise, "y fraction random_state"),
    "pair_noise": (pair_noise, "y fraction random_state"),
    "instance_dependent_noise": (instance_dependent_noise, "X y fraction random_state"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@examples
@given(draw=st.data())
def test_data(name, draw):
    call, names = CALLS[name]
    junk = draw.draw(some_junk(names.split(), JUNK))
    check(call, {n: GOOD[n] for n in names.split()} | junk, list(junk))


@examples
@given(draw=st.data())
def test_data_of_the_sampler(draw):
    sampler = pytest.importorskip("sam_attribution.imblearn").MislabelSampler(
        Scorer(), removal_fraction=0.1
    )
    junk = draw.draw(some_junk(["X", "y", "sample_weight"], JUNK))
    check(sampler.fit_resample, {"X": X, "y": y} | junk, list(junk))


PROBLEM = problem_from_estimator(FITTED, X, y)
A = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
MAKE = {
    SAMClassifier: lambda **a: classifier(**a).fit(X, y).predict(X),
    SAMRegressor: lambda **a: regressor(**a).fit(X, y).predict(X),
    SAMInfluence: lambda **a: influence(**a).fit(X, y).transform(X),
    FilteredClassifier: lambda **a: filtered(**a).fit(X, y).predict(X),
    MislabelFilter: lambda **a: MislabelFilter(
        **{"scorer": Scorer(), "removal_fraction": 0.1, **a}
    ).fit_resample(X, y),
    PNorm: lambda **a: classifier(perturbation=PNorm(**a)).fit(X, y),
    Adaptive: lambda **a: classifier(perturbation=Adaptive(**a)).fit(X, y),
    GMRES: lambda **a: GMRES(**a).prepare(Dense(A)).matmat(A),
    Direct: lambda **a: Direct(**a).prepare(Dense(A)).matmat(A),
    Neumann: lambda **a: Neumann(**a).prepare(Dense(A)).matmat(A),
}
for method in (GIF, HIF, InfluenceFunction, SelfInfluence, TracIn):
    MAKE[method] = lambda method=method, **a: method(**a).prepare(PROBLEM)

KINDS = [nn.Linear, nn.Linear(3, 2), nn.Linear(3, 5), nn.Flatten(), nn.MSELoss, torch.optim.Adam]
CALLABLE = {"evaluation", "iterator_train", "iterator_valid", "dataset", "train_split", "criterion"}
CALLABLE |= {"predict_nonlinearity"}  # the user's own code
FOR_PARAMETERS = {name: values.filter(lambda value: not callable(value)) for name in CALLABLE} | {
    "module": values | st.sampled_from(KINDS),
    "optimizer": values | st.sampled_from(KINDS),
    # not True, 10**30 or -1: that would be compiled, take for ever, or start processes
    "compile": values.filter(lambda value: value is not True),
    "max_epochs": values.filter(lambda value: not isinstance(value, int) or value < 3),
    "n_jobs": values.filter(lambda value: not isinstance(value, int) or value in (0, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("cls", MAKE, ids=lambda cls: cls.__name__)
@examples
@given(draw=st.data())
def test_parameters(cls, draw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # any string is a folder to write to
    parameters = signature(cls).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    junk = draw.draw(some_junk(names, FOR_PARAMETERS))
    check(MAKE[cls], junk, list(junk))
