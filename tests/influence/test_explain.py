from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from torch.nn.functional import cross_entropy

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF, TracIn
from sam_attribution.methods._rates import plain_rates
from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem import TrainingPath
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import row_gradients, tabular

X, y, _ = tabular(45)
X_query, y_query, _ = tabular(4, seed=1)
names = np.array(["ant", "bee", "cat"])
COLUMNS = ["query", "rank", "train_row", "label", "score", "epochs"]


def influence(validation, aggregate="mean", X=X):
    clf = SAMClassifier(max_epochs=3, dtype="float64", random_state=0)
    settings = {"validation": validation, "aggregate": aggregate, "random_state": 0}
    return SAMInfluence(clf, **settings).fit(X, names[y])


def test_both_ends_of_every_query_with_their_labels():
    fitted = influence(ValidationData(X_query, names[y_query]))
    table = fitted.explain(X_query, names[y_query], k=3)
    assert table.columns.tolist() == COLUMNS
    assert table["query"].tolist() == np.repeat(np.arange(4), 6).tolist()
    assert table["rank"].tolist() == [1, 2, 3, -3, -2, -1] * 4
    scores = fitted.attribute(X_query, names[y_query])
    by_score = np.sort(scores, axis=1)
    expected = np.concatenate([by_score[:, :3], by_score[:, -3:]], axis=1).ravel()
    np.testing.assert_array_equal(table["score"], expected)
    np.testing.assert_array_equal(table["score"], scores[table["query"], table["train_row"]])
    np.testing.assert_array_equal(table["label"], names[y][table["train_row"]])


def test_the_most_helpful_label_is_a_column_of_the_worst_class_only():
    held_out = ValidationData(X_query, names[y_query])
    fitted = influence(held_out, "worst-class")
    table = fitted.explain(X_query, names[y_query], k=3)
    assert table.columns.tolist() == [*COLUMNS[:4], "most_helpful_label", *COLUMNS[4:]]
    expected = fitted.suggest_labels()[table["train_row"]]
    np.testing.assert_array_equal(table["most_helpful_label"], expected)
    rest = table.drop(columns="most_helpful_label")
    pd.testing.assert_frame_equal(rest, influence(held_out).explain(X_query, names[y_query], k=3))


def test_the_index_of_the_rows_stands_beside_their_positions():
    frame = pd.DataFrame(X, index=[f"id {3 * row}" for row in range(45)])
    held_out = ValidationData(frame.iloc[:4], names[y[:4]])
    table = influence(held_out, X=frame).explain(frame[:2], names[y[:2]], k=2)
    assert table.columns.tolist() == [*COLUMNS[:3], "train_index", *COLUMNS[3:]]
    assert table["train_index"].tolist() == [f"id {3 * row}" for row in table["train_row"]]


@pytest.mark.parametrize("given", [X.tolist(), torch.as_tensor(X)], ids=["list", "tensor"])
def test_rows_without_an_index_have_positions_only(given):
    held_out = ValidationData(X_query, names[y_query])
    table = influence(held_out, X=given).explain(X_query[:1], names[y_query[:1]], k=1)
    assert table.columns.tolist() == COLUMNS


def test_a_large_k_shows_every_row_once():
    fitted = influence(ValidationData(X_query, names[y_query]))
    table = fitted.explain(X_query[:1], names[y_query[:1]], k=30)
    assert sorted(table["train_row"]) == list(range(45))
    assert table["rank"].tolist() == [*range(1, 31), *range(-15, 0)]


def test_one_split_shows_the_rows_that_it_trained_on():
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    fitted = influence(folds)
    with pytest.raises(ValueError, match=r"split must be one of 0\.\.2"):
        fitted.explain(X_query, names[y_query])
    for split, (train, _) in enumerate(folds.split(X, y)):
        table = fitted.explain(X_query, names[y_query], k=50, split=split)
        assert sorted(table.loc[table["query"] == 2, "train_row"]) == sorted(train)


@pytest.mark.slow
def test_epochs_are_those_of_the_largest_parts_of_a_score():
    """Against single scores: one state at a time, by a trajectory of every epoch's middle."""
    clf = SAMClassifier(max_epochs=4, batch_size=15, dtype="float64", random_state=0)
    fitted = SAMInfluence(
        clf, method=GIF(n_checkpoints=4), validation=ValidationData(X_query, y_query)
    ).fit(X, y)
    table = fitted.explain(X_query[:2], y_query[:2], k=45)
    problem = fitted.attributions_[0].problem
    final = fitted.estimator_.trajectory_.states[-1].params
    for query in range(2):
        leaf = final.clone().requires_grad_()
        row = torch.as_tensor(X_query[query : query + 1])
        loss = cross_entropy(problem.logits(leaf, {}, row), torch.as_tensor(y_query[[query]]))
        v = torch.autograd.grad(loss, leaf)[0]
        parts = []
        for point in problem.path.checkpoints(4, plain_rates(problem.path)):
            w = problem.ascend(point.params, {}, point.rows, point.rho)
            gradients = row_gradients(problem, w, {})[torch.arange(45), torch.as_tensor(y)]
            parts.append(0.3 * gradients @ v / 45)
        parts = torch.stack(parts).numpy()
        mine = table[table["query"] == query].set_index("train_row")
        np.testing.assert_allclose(mine["score"].sort_index(), parts.sum(0), rtol=1e-8)
        for index, line in mine.iterrows():
            pulls = parts[:, index] * np.sign(line["score"])
            named = [int(epoch) - 1 for epoch in unfolded(line["epochs"])]
            others = [e for e in range(4) if e not in named]
            assert pulls[named].sum() >= pulls[pulls > 0].sum() / 2
            assert all(pulls[named].min() >= pulls[e] for e in others)
            assert pulls[named].sum() - pulls[named].min() < pulls[pulls > 0].sum() / 2


def unfolded(text):
    """``"2-4, 9"`` as [2, 3, 4, 9]."""
    spans = [[int(number) for number in part.split("-")] for part in text.split(", ")]
    return [epoch for span in spans for epoch in range(span[0], span[-1] + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("method", [GIF(n_checkpoints=None), TracIn(n_checkpoints=2)])
def test_epochs_for_every_step_and_for_stretches_longer_than_an_epoch(method):
    clf = SAMClassifier(max_epochs=6, batch_size=15, random_state=0)
    held_out = ValidationData(X_query, y_query)
    fitted = SAMInfluence(clf, method=method, validation=held_out).fit(X, y)
    epochs = fitted.explain(X_query, y_query)["epochs"]
    spans = {"1-3", "4-6", "1-6"}
    if method.n_checkpoints == 2:
        assert set(epochs) <= spans
    else:
        assert {e for text in epochs for e in unfolded(text)} <= set(range(1, 7))
        assert len(set(epochs)) > 3


def test_epochs_count_an_interrupted_one():
    clf = SAMClassifier(max_epochs=3, batch_size=15, random_state=0).fit(X, y)
    batches = clf.history[1]["batches"]
    del batches[2:]
    del clf.history[1]["train_batch_count"]  # which skorch writes at the end of an epoch
    del clf.trajectory_.schedule[5]
    clf.trajectory_.states[-1] = replace(clf.trajectory_.states[-1], step=8)
    path = TrainingPath(clf, X, y, None, ParameterLayout(clf.module_))
    assert [path.epochs_of((t, t + 1))[0] for t in range(8)] == [1, 1, 1, 2, 2, 3, 3, 3]


def test_methods_of_the_final_model_name_no_epochs():
    clf = SAMClassifier(max_epochs=2, random_state=0)
    fitted = SAMInfluence(clf, method="grad-dot", random_state=0).fit(X, y)
    assert set(fitted.explain(X_query, y_query)["epochs"]) == {""}


@pytest.mark.parametrize("k", [0, 2.5, "all"])
def test_a_bad_k_is_named(k):
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        influence(0.2).explain(X_query, names[y_query], k=k)
