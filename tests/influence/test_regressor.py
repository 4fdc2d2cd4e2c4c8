"""SAMInfluence of a SAMRegressor: the same scores, questions about labels left out."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sam_attribution import FilteredClassifier, MislabelFilter, SAMInfluence, SAMRegressor
from sam_attribution.methods import GIF, HIF
from sam_attribution.validation_data import ValidationData
from tests.cases import BY_BATCHES, METHODS, NO_MEAN_OVER_QUERIES
from tests.models import given_gradients, targets

SMALL = {"max_epochs": 3, "batch_size": 8, "dtype": "float64", "random_state": 0}
X, y, weight = targets(48)
FEW = X[24:], y[24:]  # for what every row shows
X_val, y_val = -X[:15] + 0.1, y[:15] ** 2
HELD_OUT = ValidationData(X_val, y_val)

NEEDS_Y = "it calls score_samples(X): a regressor has no label to put in the place of y"
EXPECTED_FAILURES = {
    "check_methods_subset_invariance": NEEDS_Y,
    "check_methods_sample_order_invariance": NEEDS_Y,
}


@pytest.mark.slow
@parametrize_with_checks(
    [SAMInfluence(SAMRegressor(max_epochs=2, lr=1e-4))],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def influence(estimator=None, **settings):
    estimator = estimator or SAMRegressor(**SMALL)
    options = {"method": "gif", "validation": HELD_OUT, "random_state": 0}
    return SAMInfluence(estimator, **options | settings)


# the head's columns are taken in each of these ways
OF_THE_HEAD = ("ekfac", "gif", "gif every step", "hif", "hif fast", "relatif", "self-influence")
VIEWS = [(name, "all") for name in METHODS] + [(name, "head") for name in OF_THE_HEAD]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), VIEWS)
def test_the_views_of_a_score_agree(name, parameters):
    fitted = influence(method=METHODS[name], parameters=parameters).fit(*FEW)
    assert fitted.scores_.shape == (24,)
    assert np.abs(fitted.scores_).max() > 1e-6
    if name not in NO_MEAN_OVER_QUERIES:
        found = fitted.attribute(X_val, y_val).mean(0)
        np.testing.assert_allclose(found, fitted.scores_, rtol=1e-8, atol=1e-12)
    if name in BY_BATCHES:
        with pytest.warns(UserWarning, match="every batch with weight 1/n"):
            fitted.score_samples(*FEW)
    else:
        found = fitted.score_samples(*FEW)
        np.testing.assert_allclose(found, fitted.scores_, rtol=1e-10, atol=1e-14)
    if name != "self-influence":
        own = np.diag(fitted.attribute(*FEW))
        np.testing.assert_allclose(fitted.self_influence(), own, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [None, weight])
def test_gif_is_the_sum_over_states_of_explicit_products(sample_weight):
    fitted = influence(method=GIF(n_checkpoints=3)).fit(X, y, sample_weight=sample_weight)
    net = fitted.estimator_
    states = list(net.replay(X, y, sample_weight=sample_weight))
    problem = fitted.attributions_[0].problem
    a = torch.ones(48).double() if sample_weight is None else torch.tensor(weight)

    def squared_errors(w, X, y):
        return (problem.logits(w, {}, torch.tensor(X))[:, 0] - torch.tensor(y)) ** 2

    v = torch.func.grad(lambda w: squared_errors(w, X_val, y_val).mean())(problem.params)
    expected = torch.zeros(48, dtype=torch.float64)
    for middle in (3, 9, 15):
        w, rows = states[middle].params, net.trajectory_.schedule[middle].indices
        own = a[rows] / a[rows].sum()
        g = torch.func.grad(lambda w, r=rows, a=own: a @ squared_errors(w, X[r], y[r]))(w)
        gradients = given_gradients(problem, w + 0.05 * g / g.norm(), {})
        expected += 6 * 0.1 * a / a.sum() * (gradients @ v)
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.slow
def test_positive_means_helpful():
    """Sign and unit, against retraining without single rows (weight 0, same batches)."""
    settings = SMALL | {"max_epochs": 4, "batch_size": -1, "rho": 0.02, "lr": 0.01}
    fitted = influence(SAMRegressor(**settings), method=GIF(n_checkpoints=None)).fit(X, y)
    # the 1/n stays when a row goes: rate * (n - 1) / n undoes the division by the sum of weights
    shorter = SAMRegressor(**settings | {"lr": 0.01 * 47 / 48})

    def error(net, **fit_params):
        return np.mean((net.fit(X, y, **fit_params).predict(X_val) - y_val) ** 2)

    base = error(SAMRegressor(**settings))
    truth = [error(shorter, sample_weight=(np.arange(48) != k) * 1.0) - base for k in range(48)]
    assert np.corrcoef(fitted.scores_, truth)[0, 1] > 0.95
    assert 0.8 < np.polyfit(fitted.scores_, truth, 1)[0] < 1.2


def test_a_fraction_is_held_out_and_not_judged():
    fitted = influence(validation=0.25).fit(X, y)
    held_out = np.isnan(fitted.scores_)
    assert held_out.sum() == 12
    found = fitted.attribute(X[held_out], y[held_out]).mean(0)
    np.testing.assert_allclose(found, fitted.scores_, rtol=1e-8)
    assert not np.array_equal(held_out, np.isnan(influence(validation=0.5).fit(X, y).scores_))


@pytest.mark.slow
def test_folds_judge_every_row_and_average():
    folds = KFold(3, shuffle=True, random_state=0)
    fitted = influence(validation=folds).fit(X, y)
    expected = np.zeros(48)
    for train, held_out in folds.split(X):
        train = np.sort(train)
        single = influence(validation=ValidationData(X[held_out], y[held_out]))
        expected[train] += single.fit(X[train], y[train]).scores_ / 2
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-10)


@pytest.mark.slow
def test_diagnostics_name_the_unit_and_the_quality():
    table = influence().fit(X, y).diagnostics_
    assert table.loc[0, "scale"].startswith("squared units of y, but curvature is ignored")
    net = SAMRegressor(**SMALL).fit(X, y)
    assert table.loc[0, "validation_r2"] == pytest.approx(net.score(X_val, y_val))
    assert "validation_accuracy" not in table
    absolute = influence(SAMRegressor(**SMALL, criterion=nn.L1Loss)).fit(X, y)
    assert absolute.diagnostics_.loc[0, "scale"].startswith("units of L1Loss")
    exact = influence(method=HIF(damping=0.5)).fit(X, y).diagnostics_.loc[0, "scale"]
    assert exact.startswith("squared units of y, shrunk by the damping")


def test_a_callable_is_asked_of_predictions():
    def fourth(prediction, y):
        assert prediction.shape == y.shape
        return (prediction - y) ** 4

    fitted = influence(evaluation=fourth, method="grad-dot").fit(X, y)
    problem = fitted.attributions_[0].problem

    def mean(w):
        predicted = problem.logits(w, {}, torch.tensor(X_val))[:, 0]
        return ((predicted - torch.tensor(y_val)) ** 4).mean()

    v = torch.func.grad(mean)(problem.params)
    expected = given_gradients(problem, problem.params, {}) @ v / 48
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-9)


@pytest.mark.slow
def test_pipelines_and_frozen_ones():
    scaler = StandardScaler().fit(5 * X + 3)
    bare = influence(validation=ValidationData(scaler.transform(5 * X_val + 3), y_val))
    bare.fit(scaler.transform(5 * X + 3), y)
    rows, held_out = 5 * X + 3, ValidationData(5 * X_val + 3, y_val)
    pipeline = make_pipeline(StandardScaler(), SAMRegressor(**SMALL))
    whole = influence(pipeline, validation=held_out).fit(rows, y)
    np.testing.assert_array_equal(whole.scores_, bare.scores_)
    frame = influence(pipeline, validation=held_out).fit(pd.DataFrame(rows), y)
    np.testing.assert_allclose(frame.scores_, bare.scores_, rtol=1e-8)
    frozen = FrozenEstimator(pipeline.fit(rows, y))
    again = influence(frozen, validation=held_out).fit(rows, y)
    np.testing.assert_array_equal(again.scores_, bare.scores_)
    with pytest.raises(ValueError, match="recorded on other data: y differ"):
        influence(frozen, validation=held_out).fit(rows, y + 1e-6)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_jobs_pickles_and_columns_of_targets():
    expected = influence(batch_size=7).fit(X, y)
    shared = influence(batch_size=7, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(shared.scores_, expected.scores_)
    found = shared.score_samples(X, y)
    np.testing.assert_array_equal(found, expected.score_samples(X, y))
    again = pickle.loads(pickle.dumps(expected))
    np.testing.assert_array_equal(again.score_samples(X, y), found)
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        column = influence(batch_size=7).fit(X, y[:, None])
    np.testing.assert_array_equal(column.scores_, expected.scores_)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        ("gif", "float64"),
        ("grad-cos", "float64"),
        (HIF(damping=0.3), "float64"),
        (HIF(damping=0.3), "float32"),
    ],
    ids=str,
)
def test_batch_size_does_not_matter(method, dtype):
    net = SAMRegressor(**SMALL | {"dtype": dtype})
    first, *others = (
        influence(net, method=method, batch_size=size).fit(X, y).scores_ for size in ("auto", 7, 1)
    )
    # twice that of classifiers: squared errors curve ten times as much in the solve
    tolerance = 4e-6 if dtype == "float32" else 1e-10
    for other in others:
        assert np.abs(other - first).max() <= tolerance * np.abs(first).max()


def test_explain_shows_targets_and_suggests_nothing():
    table = influence().fit(X, y).explain(X_val[:2], y_val[:2], k=2)
    assert table.columns.tolist() == ["query", "rank", "train_row", "label", "score", "epochs"]
    np.testing.assert_array_equal(table["label"], y[table["train_row"]])
    assert set(table["epochs"]) <= {"1", "2", "3", "1-2", "2-3", "1-3", "1, 3"}


NOT_THERE = ["transform", "fit_transform", "suggest_labels", "get_feature_names_out", "set_output"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*NOT_THERE, "transform_train_", "classes_"],
)
def test_questions_about_labels_are_not_there(name):
    estimator = influence()
    assert not hasattr(estimator, name)
    assert not hasattr(estimator.fit(X, y), name)


def test_the_errors_say_what_to_do():
    fitted = influence().fit(X, y)
    with pytest.raises(AttributeError) as error:
        fitted.transform(X)
    assert "a regressor or SAMNet has targets instead of classes" in str(error.value.__cause__)
    with pytest.raises(ValueError, match=r"y is needed to score rows.*Pass score_samples\(X, y\)"):
        fitted.score_samples(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluation": "margin"}, "evaluation='margin' needs classes, but estimator is a regre"),
        ({"aggregate": "worst-class"}, 'aggregate="worst-class" needs classes, but estimator is'),
        ({"validation": 0.99}, "validation=0.99 holds out 48 rows of n_samples=48"),
        (
            {"validation": ValidationData(X_val, np.append(y_val[1:], np.nan))},
            "Input y of validation contains NaN",
        ),
        (
            {"validation": ValidationData(X_val, ["a"] * 15)},
            "y of validation must hold real numbers, got str",
        ),
        (
            {"estimator": TransformedTargetRegressor(SAMRegressor())},
            "estimator must be a SAMClassifier, SAMRegressor or SAMNet",
        ),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        influence(**settings).fit(X, y)


@pytest.mark.slow
def test_an_earlier_fit_is_forgotten():
    fitted = SAMInfluence(random_state=0).fit(X, y > 0)
    assert fitted.classes_.tolist() == [False, True]
    fitted.set_params(estimator=SAMRegressor(**SMALL)).fit(X, y)
    assert not hasattr(fitted, "classes_")
    assert not hasattr(fitted, "transform_train_")


@pytest.mark.parametrize(
    "filter_",
    [
        FilteredClassifier(SAMRegressor()),
        FilteredClassifier(make_pipeline(StandardScaler(), SAMRegressor())),
        FilteredClassifier(scorer=SAMInfluence(SAMRegressor())),
        MislabelFilter(SAMInfluence(SAMRegressor())),
        MislabelFilter(SAMInfluence(make_pipeline(StandardScaler(), SAMRegressor()))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("labels", [y, y > 0], ids=["targets", "labels"])
def test_filters_refuse_regressors(filter_, labels):
    with pytest.raises(ValueError, match=r"(?s)must use a classifier, got .*SAMRegressor"):
        filter_.fit(X, labels)
