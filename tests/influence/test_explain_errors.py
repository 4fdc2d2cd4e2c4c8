"""Mistakes found and traced, against predictions and gradients by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import TracIn
from sam_attribution.methods._rates import plain_rates
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import row_gradients, tabular, targets

X, y, _ = tabular(45)
X_query, y_query, _ = tabular(30, seed=1)
names = np.array(["ant", "bee", "cat"])
SMALL = {"max_epochs": 4, "batch_size": 15, "dtype": "float64", "random_state": 0}


def influence(estimator=None, labels=y, **settings):
    held_out = ValidationData(X_query[:9], labels[:9])
    settings = {"method": "gif", "validation": held_out} | settings
    estimator = SAMClassifier(**SMALL) if estimator is None else estimator
    return SAMInfluence(estimator, random_state=0, **settings).fit(X, labels)


def errors_by_hand(estimator, X, y):
    """Positions of the misclassified rows, the least probable true label first."""
    classes, probabilities = estimator.classes_.tolist(), estimator.predict_proba(X)
    of_truth = [row[classes.index(label)] for row, label in zip(probabilities, y, strict=True)]
    wrong = [i for i, row in enumerate(probabilities) if classes[row.argmax()] != y[i]]
    return sorted(wrong, key=of_truth.__getitem__)


@pytest.mark.slow
@pytest.mark.parametrize("n_errors", [None, 3])
def test_the_worst_mistakes_are_explained(n_errors):
    fitted, asked = influence(labels=names[y]), names[y_query]
    table = fitted.explain_errors(X_query, asked, k=2, n_errors=n_errors)
    errors = errors_by_hand(fitted.estimator_, X_query, asked)[:n_errors]
    assert len(errors) > 2
    assert table["query"].drop_duplicates().tolist() == errors
    np.testing.assert_array_equal(table["true_label"], asked[table["query"]])
    predicted = fitted.estimator_.predict(X_query)
    np.testing.assert_array_equal(table["predicted_label"], predicted[table["query"]])
    expected = fitted.explain(X_query[errors], asked[errors], k=2)
    assert table.columns.tolist() == [
        "query", "true_label", "predicted_label", *expected.columns[1:]
    ]  # fmt: skip
    pd.testing.assert_frame_equal(
        table[expected.columns[1:]], expected.drop(columns="query"), rtol=1e-10
    )
    scores = fitted.attribute(X_query[errors], asked[errors])
    most_harmful = table[table["rank"] == 1]["train_row"]
    np.testing.assert_array_equal(most_harmful, scores.argmin(1))
    most_helpful = table[table["rank"] == -1]["train_row"]
    np.testing.assert_array_equal(most_helpful, scores.argmax(1))


@pytest.mark.slow
def test_epochs_are_those_in_which_the_harm_was_done():
    """Query and row gradients at the middle of every epoch, formed one by one."""
    fitted = influence(method=TracIn(n_checkpoints=4))
    table = fitted.explain_errors(X_query, y_query, k=3)
    problem, path = fitted.attributions_[0].problem, fitted.attributions_[0].problem.path
    points = list(path.checkpoints(4, plain_rates(path)))
    rows = torch.as_tensor(X_query), torch.as_tensor(y_query)
    parts = []
    for point in points:
        gradients = row_gradients(problem, point.params, {})[torch.arange(45), torch.as_tensor(y)]
        leaf = point.params.clone().requires_grad_()
        losses = cross_entropy(problem.logits(leaf, {}, rows[0]), rows[1], reduction="none")
        asked = [torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in losses]
        parts.append(0.3 * torch.stack(asked) @ gradients.T / 45)  # three steps at a rate of .1
    parts = torch.stack(parts).numpy()
    for line in table.itertuples():
        part = parts[:, line.query, line.train_row]
        np.testing.assert_allclose(line.score, part.sum(), rtol=1e-8)
        pulls = part * np.sign(part.sum())
        ranked = np.argsort(-pulls)
        n_named = 1 + np.argmax(np.cumsum(pulls[ranked]) >= pulls[pulls > 0].sum() / 2)
        assert unfolded(line.epochs) == sorted(ranked[:n_named] + 1)


def unfolded(text):
    """``"1-2, 4"`` as [1, 2, 4]."""
    spans = [[int(number) for number in part.split("-")] for part in text.split(", ")]
    return [epoch for span in spans for epoch in range(span[0], span[-1] + 1)]


@pytest.mark.slow
def test_queries_are_asked_some_at_a_time(monkeypatch):
    fitted = influence()
    expected = fitted.explain_errors(X_query, y_query, k=2)
    sizes = []
    problem, asked = fitted.attributions_[0], fitted.attributions_[0]._single_queries
    monkeypatch.setattr(
        problem, "_single_queries", lambda X, y: sizes.append(len(y)) or asked(X, y)
    )
    monkeypatch.setattr("sam_attribution.influence._reading._MOST_AT_ONCE", 2)
    pd.testing.assert_frame_equal(fitted.explain_errors(X_query, y_query, k=2), expected)
    assert set(sizes) <= {1, 2}


@pytest.mark.slow
def test_the_aggregate_is_for_the_suggestions_alone():
    mean, worst = (
        influence(aggregate=aggregate).explain_errors(X_query, y_query)
        for aggregate in ("mean", "worst-class")
    )
    assert worst.pop("most_helpful_label").isin(np.unique(y)).all()
    pd.testing.assert_frame_equal(mean, worst)


def test_no_mistakes_give_a_table_without_lines():
    fitted = influence()
    right = fitted.estimator_.predict(X_query) == y_query
    table = fitted.explain_errors(X_query[right], y_query[right])
    assert len(table) == 0
    assert table.columns.equals(fitted.explain_errors(X_query, y_query).columns)
    assert (table.dtypes == fitted.explain_errors(X_query, y_query).dtypes)[
        ["query", "score"]
    ].all()


def test_a_table_and_a_pipeline():
    X_frame = pd.DataFrame(X_query, index=[f"row {i}" for i in range(30)])
    fitted = influence(make_pipeline(StandardScaler(), SAMClassifier(**SMALL)))
    table = fitted.explain_errors(X_frame, pd.Series(y_query, index=X_frame.index), k=1)
    errors = errors_by_hand(fitted.estimator_, X_query, y_query)
    assert table["query"].drop_duplicates().tolist() == errors


@pytest.mark.slow
def test_the_model_of_a_split_is_asked():
    fitted = influence(validation=StratifiedKFold(3, shuffle=True, random_state=0))
    with pytest.raises(ValueError, match=r"split must be one of 0\.\.2"):
        fitted.explain_errors(X_query, y_query)
    for split in range(3):
        table = fitted.explain_errors(X_query, y_query, k=1, split=split)
        errors = errors_by_hand(fitted.estimators_[split], X_query, y_query)
        assert table["query"].drop_duplicates().tolist() == errors


def test_methods_that_suggest_nothing_have_no_such_column():
    table = influence(method="loo", parameters="all", aggregate="worst-class").explain_errors(
        X_query, y_query, k=1, n_errors=1
    )
    assert "most_helpful_label" not in table
    assert table["epochs"].tolist() == ["", ""]


def test_a_regressor_makes_no_mistakes_of_this_kind():
    rows, values, _ = targets(20)
    fitted = SAMInfluence(SAMRegressor(max_epochs=1, random_state=0)).fit(rows, values)
    assert not hasattr(fitted, "explain_errors")
    with pytest.raises(AttributeError, match="has no attribute 'explain_errors'"):
        fitted.explain_errors(rows, values)


@pytest.mark.parametrize("n_errors", [0, 1.5, "all"])
def test_a_bad_number_is_named(n_errors):
    with pytest.raises(
        ValueError, match="'n_errors' parameter of explain_errors must be None or an int"
    ):
        influence().explain_errors(X_query, y_query, n_errors=n_errors)


def test_labels_that_are_not_known_are_named():
    with pytest.raises(ValueError, match=r"y holds labels that were not in fit: \[7\]"):
        influence().explain_errors(X_query, np.full(30, 7))


def test_a_class_that_no_row_carries_keeps_its_place():
    some, asked = y > 0, y_query > 0
    own = ValidationData(X_query[asked][:9], names[y_query[asked]][:9])
    estimator = SAMClassifier(classes=names, **SMALL)
    fitted = SAMInfluence(estimator, random_state=0, validation=own).fit(X[some], names[y[some]])
    assert fitted.classes_.tolist() == names.tolist()
    labels = names[y_query[asked]]
    table = fitted.explain_errors(X_query[asked], labels, k=1)
    errors = errors_by_hand(fitted.estimator_, X_query[asked], labels)
    assert table["query"].drop_duplicates().tolist() == errors
    predicted = fitted.estimator_.predict(X_query[asked])
    np.testing.assert_array_equal(table["predicted_label"], predicted[table["query"]])
    best = names[fitted.transform_train_.argmax(1)]
    np.testing.assert_array_equal(fitted.suggest_labels(), best)
