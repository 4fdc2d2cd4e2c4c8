import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.models import tabular

X, y, _ = tabular(45)
X_query, y_query, _ = tabular(4, seed=1)
names = np.array(["ant", "bee", "cat"])
COLUMNS = ["query", "rank", "train_index", "label", "suggested_label", "score"]


def influence(validation):
    clf = SAMClassifier(max_epochs=3, dtype="float64", random_state=0)
    return SAMInfluence(clf, validation=validation, random_state=0).fit(X, names[y])


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
    np.testing.assert_array_equal(table["score"], scores[table["query"], table["train_index"]])
    np.testing.assert_array_equal(table["label"], names[y][table["train_index"]])
    np.testing.assert_array_equal(
        table["suggested_label"], fitted.suggest_labels()[table["train_index"]]
    )


def test_a_large_k_shows_every_row_once():
    fitted = influence(ValidationData(X_query, names[y_query]))
    table = fitted.explain(X_query[:1], names[y_query[:1]], k=30)
    assert sorted(table["train_index"]) == list(range(45))
    assert table["rank"].tolist() == [*range(1, 31), *range(-15, 0)]


def test_one_split_shows_the_rows_that_it_trained_on():
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    fitted = influence(folds)
    with pytest.raises(ValueError, match=r"split must be one of 0\.\.2"):
        fitted.explain(X_query, names[y_query])
    for split, (train, _) in enumerate(folds.split(X, y)):
        table = fitted.explain(X_query, names[y_query], k=50, split=split)
        assert sorted(table.loc[table["query"] == 2, "train_index"]) == sorted(train)


@pytest.mark.parametrize("k", [0, 2.5, "all"])
def test_a_bad_k_is_named(k):
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        influence(0.2).explain(X_query, names[y_query], k=k)
