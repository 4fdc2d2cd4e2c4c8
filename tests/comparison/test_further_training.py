"""Further training as a function: pipelines, regressors, weights, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.comparison import further_training
from sam_attribution.metrics import similarity_curve
from sam_attribution.retraining import FurtherTraining
from tests.models import tabular, targets

X, y, weight = tabular(40)
X_query, y_query, _ = tabular(6, seed=1)
METHOD = FurtherTraining(n_epochs=3, n_seeds=2, rows=[1, 20, 33], random_state=0)
SETTINGS = {"max_epochs": 3, "batch_size": 16, "dtype": "float64", "random_state": 0}


@pytest.mark.slow
def test_a_pipeline_is_asked_as_its_classifier_is():
    pipeline = make_pipeline(StandardScaler(), SAMClassifier(**SETTINGS)).fit(X, y)
    scaler, clf = (step for _, step in pipeline.steps)
    found, frozen, inner = (
        further_training(estimator, rows, y, queries, y_query, method=METHOD)
        for estimator, rows, queries in (
            (pipeline, X, X_query),
            (FrozenEstimator(pipeline), X, X_query),
            (clf, scaler.transform(X), scaler.transform(X_query)),
        )
    )
    np.testing.assert_array_equal(found.values, inner.values)
    np.testing.assert_array_equal(found.values, frozen.values)
    np.testing.assert_array_equal(found.amounts, [1, 2, 3])


def test_a_regressor_after_its_end_is_the_influence():
    X, y, weight = targets(40)
    X_query, y_query, _ = targets(6, seed=1)
    reg = SAMRegressor(trajectory=None, **SETTINGS).fit(X, y, sample_weight=weight)
    found = further_training(
        reg, X, y, X_query, y_query, method=METHOD, sample_weight=weight, evaluate_at=[2, 3]
    )
    validation = ValidationData(X_query, y_query)
    influence = SAMInfluence(FrozenEstimator(reg), method=METHOD, validation=validation)
    attributed = influence.fit(X, y, sample_weight=weight).attribute(X_query, y_query)
    np.testing.assert_allclose(attributed[:, [1, 20, 33]], found.curves()[-1], atol=1e-13)
    assert np.abs(attributed[:, 1]).min() > 1e-6


def test_the_values_are_squared_errors_of_a_regressor():
    """With one epoch in one batch of all rows a plain step at w + eps tells everything."""
    X, y, _ = targets(40)
    X_query, y_query, _ = targets(6, seed=1)
    reg = SAMRegressor(torch.nn.Linear(6, 1), rho=0.1, **SETTINGS).fit(X, y)
    method = FurtherTraining(n_epochs=1, n_seeds=1, rows=[7], batch_size=-1, lr=0.2)
    found = further_training(reg, X, y, X_query, y_query, method=method)
    layer = reg.module_
    theta = np.append(layer.weight.detach().numpy()[0], layer.bias.detach().numpy())
    rows, queries = (np.column_stack([part, np.ones(len(part))]) for part in (X, X_query))
    s = np.ones(40)
    s[7] = 0

    def gradient(theta):
        return 2 * rows.T @ (s * (rows @ theta - y)) / 40

    def errors(theta):
        return (queries @ theta - y_query) ** 2

    g = gradient(theta)
    after = theta - 0.2 * gradient(theta + 0.1 * g / np.linalg.norm(g))
    expected = errors(after) - errors(theta)
    np.testing.assert_allclose(found.values[0, 0, :, 0], expected, rtol=1e-10)


def test_curves_fit_the_metric_and_other_evaluations():
    clf = SAMClassifier(**SETTINGS).fit(X, y)
    found = further_training(
        clf, X, y, X_query, y_query, method=METHOD, evaluate_at=[1, 3], evaluation="margin"
    )
    curves = found.curves()
    table = similarity_curve(curves[-1], curves, found.amounts)
    assert table["mean"].iloc[-1] == pytest.approx(1)
    loss = further_training(clf, X, y, X_query, y_query, method=METHOD, evaluate_at=[1, 3])
    assert np.abs(curves - loss.curves()).max() > 1e-4


def test_errors_name_what_is_wrong():
    clf = SAMClassifier(**SETTINGS)
    with pytest.raises(NotFittedError):
        further_training(clf, X, y, X_query, y_query)
    clf.fit(X, y)
    with pytest.raises(ValueError, match="recorded on other data"):
        further_training(clf, X + 1, y, X_query, y_query)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        further_training(clf, X, y, X_query, y_query[:2])
    with pytest.raises(ValueError, match="labels that were not in fit"):
        further_training(clf, X, y, X_query, y_query + 5)
    with pytest.raises(ValueError, match="evaluate_at must be ascending epochs in 1"):
        further_training(clf, X, y, X_query, y_query, evaluate_at=[3, 11])
    with pytest.raises(TypeError, match=r"method must be a FurtherTraining\(\), got 'further"):
        further_training(clf, X, y, X_query, y_query, method="further-training")


def test_curves_follow_the_order_of_rows_and_repeat_without_a_seed():
    clf = SAMClassifier(**SETTINGS).fit(X, y)
    order = [33, 1, 20]
    asked = {"n_epochs": 1, "n_seeds": 1}
    found, sorted_rows = (
        further_training(clf, X, y, X_query, y_query, method=FurtherTraining(rows=rows, **asked))
        for rows in (order, sorted(order))
    )
    np.testing.assert_array_equal(found.rows, order)
    expected = sorted_rows.curves()[..., [2, 0, 1]]
    np.testing.assert_allclose(found.curves(), expected, rtol=1e-9, atol=1e-13)
    assert np.abs(expected).min() > 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("n_seeds", "verbose"), [(2, 0), (2, 1), (2, 2), (1, 1)])
def test_one_bar_counts_the_seeds_or_the_models_of_one(n_seeds, verbose, capsys):
    net = SAMClassifier(**SETTINGS).fit(X, y)
    method = FurtherTraining(n_epochs=1, n_seeds=n_seeds, rows=[1, 2], verbose=verbose)
    further_training(net, X, y, X_query, y_query, method=method)
    shown = capsys.readouterr().err
    assert ("further training" in shown) == (verbose > 0 and n_seeds > 1)
    assert ("retraining" in shown) == (verbose > (n_seeds > 1))
