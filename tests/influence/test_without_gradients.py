"""Methods whose probes are functions, on every kind of rows, against arithmetic by hand."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import nn
from torch.nn.functional import normalize

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.methods import Method, Prepared, Projected
from tests.models import tabular, targets

X, y, weight = tabular()
X_val, y_val, _ = tabular(30, seed=5)
X_new, y_new, _ = tabular(7, seed=6)


class Rows(torch.utils.data.Dataset):
    def __init__(self, X, y):
        self.X, self.y = torch.tensor(X), torch.tensor(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class FeatureCosine(Method):
    def prepare(self, problem):
        return PreparedCosine(problem)


class PreparedCosine(Prepared):
    has_unit = False

    def __init__(self, problem):
        self.problem = problem
        self.diagnostics = {"scale": "a cosine"}

    def features(self, X):
        w, buffers = self.problem.params, self.problem.buffers
        return normalize(self.problem.features(w, buffers, X), dim=1)

    def probes(self, queries):
        batches = (queries.batch(rows) for rows in queries.chunks())
        features = torch.cat([self.features(X) for X, _ in batches])
        sums = features.new_zeros(len(queries.groups), self.problem.n_classes, features.shape[1])
        for total, rows in zip(sums, queries.groups, strict=True):
            total.index_add_(0, queries.y[rows], features[rows])
        return [partial(self.cosines, normalize(sums, dim=2))]

    def cosines(self, means, X):
        return torch.einsum("nd,kcd->nck", self.features(X), means)


class Nearness(Method):
    """Minus the distance of inputs and targets to the mean query, for tasks without classes."""

    def prepare(self, problem):
        return PreparedNearness(problem)


class PreparedNearness(Prepared):
    def __init__(self, problem):
        self.problem = problem
        self.diagnostics = {"scale": "a distance"}

    def probes(self, queries):
        points = torch.cat([queries.X, queries.y[:, None]], dim=1)
        means = torch.stack([points[rows].mean(0) for rows in queries.groups])
        return [lambda X, y: -torch.cdist(torch.cat([X, y[:, None]], dim=1), means)]


def influence(validation=None, **settings):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    classifier = SAMClassifier(module, max_epochs=3, random_state=0, dtype="float64", verbose=0)
    validation = validation or ValidationData(X_val, y_val)
    options = {"method": FeatureCosine(), "batch_size": 7}
    return SAMInfluence(classifier, validation=validation, **options, **settings)


def features_by_hand(fitted, X):
    first = fitted.estimator_.module_[0]
    weight, bias = (p.detach().double().numpy() for p in (first.weight, first.bias))
    features = np.tanh(X @ weight.T + bias)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def table_by_hand(fitted, X):
    seen = features_by_hand(fitted, X_val)
    means = np.stack([seen[y_val == label].mean(0) for label in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return features_by_hand(fitted, X) @ means.T


@pytest.fixture(scope="module")
def fitted():
    return influence().fit(X, y)


@pytest.mark.parametrize("sample_weight", [None, weight])
def test_scores_are_the_values_without_any_factor(sample_weight):
    fitted = influence().fit(X, y, sample_weight=sample_weight)
    expected = table_by_hand(fitted, X)
    np.testing.assert_allclose(fitted.transform_train_, expected, rtol=1e-9)
    np.testing.assert_allclose(fitted.scores_, expected[range(len(y)), y], rtol=1e-9)


def test_other_rows_are_scored_with_any_label(fitted):
    expected = table_by_hand(fitted, X_new)
    np.testing.assert_allclose(fitted.transform(X_new), expected, rtol=1e-9)
    given = fitted.score_samples(X_new, y_new)
    np.testing.assert_allclose(given, expected[range(len(y_new)), y_new], rtol=1e-9)
    np.testing.assert_array_equal(fitted.suggest_labels(X_new), expected.argmax(1))


def test_a_query_of_attribute_is_one_row(fitted):
    cosines = features_by_hand(fitted, X_new) @ features_by_hand(fitted, X).T
    expected = np.where(y_new[:, None] == y, cosines, 0.0)
    np.testing.assert_allclose(fitted.attribute(X_new, y_new), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fitted.self_influence(), 1, rtol=1e-9)


def test_a_query_of_the_worst_class_is_a_class():
    fitted = influence(aggregate="worst-class").fit(X, y)
    table = table_by_hand(fitted, X)
    per_class = np.where(y[:, None] == range(3), table, 0.0)
    expected = (per_class / per_class.std(0)).min(1)
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-9)


def test_rows_of_a_dataset_give_the_same_scores(fitted):
    validation = ValidationData(Rows(X_val, y_val))
    found = influence(validation=validation).fit(Rows(X, y))
    np.testing.assert_allclose(found.scores_, fitted.scores_, rtol=1e-9)


def test_pickle_keeps_the_functions(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(X_new), fitted.transform(X_new))


def test_row_gradients_are_refused(fitted):
    for how in ("row-gradients", Projected()):
        with pytest.raises(ValueError, match="cannot be computed from row gradients"):
            fitted.attribute(X_new, y_new, how=how)


def test_targets_are_given_where_there_are_no_classes():
    X, y, _ = targets()
    net = SAMRegressor(nn.Linear(6, 1), max_epochs=1, random_state=0, dtype="float64", verbose=0)
    fitted = SAMInfluence(net, method=Nearness(), validation=ValidationData(X[:9], y[:9]))
    fitted.fit(X[9:], y[9:])
    points = np.column_stack([X, y])
    expected = -cdist(points[9:], points[:9].mean(0)[None])[:, 0]
    np.testing.assert_allclose(fitted.scores_, expected, rtol=1e-9)
    np.testing.assert_allclose(fitted.score_samples(X[9:], y[9:]), expected, rtol=1e-9)


def test_values_of_another_shape_are_refused(monkeypatch):
    monkeypatch.setattr(PreparedCosine, "cosines", lambda self, means, X: X[:, :3])
    expected = r"values of shape \(7, 3, n_queries\) for 7 rows, got \(7, 3\)"
    with pytest.raises(ValueError, match=expected):
        influence().fit(X, y)
