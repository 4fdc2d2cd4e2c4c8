"""A method without probes: scores of the rows of fit, and errors that say so for all else."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GradDot, Method, PreparedScores
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import row_gradients, tabular

X, y, _ = tabular(45)
X_val, y_val, _ = tabular(12, seed=1)
HELD_OUT = ValidationData(X_val, y_val)


class Explicit(Method):
    """Grad-Dot by explicit gradients, of some rows only."""

    has_probes = False

    def __init__(self, *, skipped=()):
        self.skipped = skipped

    def prepare(self, problem):
        return PreparedExplicit(problem, self.skipped)


class PreparedExplicit(PreparedScores):
    def __init__(self, problem, skipped):
        self.problem, self.skipped = problem, list(skipped)
        self.diagnostics = {"scale": "no unit"}

    def scores(self, queries):
        w, rows = self.problem.params, torch.arange(len(self.problem.y))
        gradients = row_gradients(self.problem, w, self.problem.buffers)[rows, self.problem.y]
        found = gradients @ queries.directions(w, self.problem.buffers) / len(rows)
        found[self.skipped] = torch.nan
        return found


def influence(method, **settings):
    clf = SAMClassifier(max_epochs=3, dtype="float64", random_state=0)
    settings = {"validation": HELD_OUT, "random_state": 0, **settings}
    return SAMInfluence(clf, method=method, **settings)


SETTINGS = [
    {},
    {"evaluation": "margin", "aggregate": "worst-class"},
    {"validation": StratifiedKFold(3)},
    {"validation": 0.2},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_queries_and_self_influence_are_those_of_the_method_with_probes(settings):
    found = influence(Explicit(), **settings).fit(X, y)
    expected = influence(GradDot(), **settings).fit(X, y)
    close = {"rtol": 1e-10, "atol": 1e-14}
    np.testing.assert_allclose(found.scores_, expected.scores_, **close)
    np.testing.assert_allclose(
        found.attribute(X_val, y_val, split=0), expected.attribute(X_val, y_val, split=0), **close
    )
    np.testing.assert_allclose(found.self_influence(), expected.self_influence(), **close)


def test_rows_that_were_not_judged_leave_the_others_as_they_are():
    settings = {"evaluation": "margin", "aggregate": "worst-class"}
    some = influence(Explicit(skipped=(2, 5)), **settings).fit(X, y)
    every = influence(Explicit(), evaluation="margin").fit(X, y)
    of_class = [every.attribute(X_val[y_val == c], y_val[y_val == c]).mean(0) for c in range(3)]
    judged = np.delete(np.array(of_class), [2, 5], axis=1)
    expected = (judged / judged.std(1, keepdims=True)).min(0)
    assert np.isnan(some.scores_[[2, 5]]).all()
    np.testing.assert_allclose(np.delete(some.scores_, [2, 5]), expected, rtol=1e-8)


def test_explain_has_no_suggestions():
    settings = {"evaluation": "margin", "aggregate": "worst-class"}
    table, expected = (
        influence(method, **settings).fit(X, y).explain(X_val[:2], y_val[:2], k=2)
        for method in (Explicit(), GradDot())
    )
    assert "most_helpful_label" in expected
    assert table.columns.tolist() == [c for c in expected.columns if c != "most_helpful_label"]
    np.testing.assert_array_equal(table["train_row"], expected["train_row"])


NOT_THERE = [
    "score_samples",
    "transform",
    "fit_transform",
    "suggest_labels",
    "get_feature_names_out",
    "set_output",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NOT_THERE, "transform_train_"])
def test_what_it_cannot_answer_is_not_there_before_and_after_fit(name):
    estimator = influence(Explicit())
    for _ in range(2):
        assert not hasattr(estimator, name)
        estimator.fit(X, y)
    with_probes = influence(GradDot())
    assert hasattr(with_probes, name) == (name != "transform_train_")
    assert hasattr(with_probes.fit(X, y), name)


def test_the_error_says_why_and_what_to_do():
    with pytest.raises(AttributeError) as error:
        influence(Explicit()).transform(X)
    said = str(error.value.__cause__)
    assert said.startswith("method=Explicit() scores only the rows of fit with their own labels")
    assert 'use another method, such as "gif"' in said
    with pytest.raises(AttributeError, match="scores only the rows of fit"):
        influence(Explicit()).fit(X, y).transform_train_  # noqa: B018


def test_junk_for_a_method_is_left_to_fit():
    assert hasattr(influence("magic"), "transform")
    assert hasattr(influence(object()), "transform")
