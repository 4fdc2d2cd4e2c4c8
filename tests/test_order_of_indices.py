"""The same index in another order is refused wherever rows and their labels come in."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    MislabelFilter,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution._row_order import check_order
from sam_attribution.comparison import compare, further_training, leave_one_out
from sam_attribution.datasets import instance_dependent_noise
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.metrics import (
    agreement,
    detection,
    detection_curve,
    linear_datamodelling_score,
    removal_curve,
    similarities,
)
from sam_attribution.plotting import (
    DetectionCurveDisplay,
    LabelConfusionDisplay,
    RemovalCurveDisplay,
    ScoreDistributionDisplay,
    WhatIfDisplay,
)
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.review import apply_decisions, review_page
from tests.models import tabular

X, y, weight = tabular(40)
TABLE, LABELS = pd.DataFrame(X), pd.Series(y)
MOVED = TABLE.sample(frac=1, random_state=0)
WEIGHT = pd.Series(weight)


@pytest.fixture(scope="module")
def model():
    return SAMClassifier(max_epochs=1, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def influence(model):
    validation = ValidationData(X, y)
    return SAMInfluence(FrozenEstimator(model), validation=validation, random_state=0).fit(X, y)


def on_table():
    validation = ValidationData(X, y)
    return SAMInfluence(
        SAMClassifier(max_epochs=1), method="grad-dot", validation=validation, random_state=0
    ).fit(TABLE, LABELS)


DOORS = {
    "fit": lambda m, i: SAMClassifier().fit(MOVED, LABELS),
    "weights": lambda m, i: SAMClassifier().fit(X, LABELS, WEIGHT[MOVED.index]),
    "partial_fit": lambda m, i: SAMClassifier().partial_fit(MOVED, LABELS),
    "score": lambda m, i: m.score(MOVED, LABELS),
    "to_tensors": lambda m, i: m.to_tensors(MOVED, LABELS),
    "replay": lambda m, i: list(m.replay(MOVED, LABELS)),
    "regressor": lambda m, i: SAMRegressor().fit(MOVED, LABELS),
    "detector": lambda m, i: MislabelDetector().fit(MOVED, LABELS),
    "detector's weights": lambda m, i: MislabelDetector().fit(MOVED, y, WEIGHT),
    "influence": lambda m, i: SAMInfluence().fit(MOVED, LABELS),
    "groups": lambda m, i: SAMInfluence(method=LeaveOneOut(groups=LABELS)).fit(MOVED, y),
    "attribute": lambda m, i: i.attribute(MOVED, LABELS),
    "score_samples": lambda m, i: i.score_samples(MOVED, LABELS),
    "explain_errors": lambda m, i: i.explain_errors(MOVED, LABELS),
    "classifier": lambda m, i: FilteredClassifier().fit(MOVED, LABELS),
    "filter": lambda m, i: MislabelFilter().fit_resample(MOVED, LABELS),
    "validation": lambda m, i: ValidationData(MOVED, LABELS),
    "compare": lambda m, i: compare(["gif"], m, MOVED, LABELS, validation=ValidationData(X, y)),
    "wrong": lambda m, i: compare(
        ["gif"], m, MOVED, y, validation=ValidationData(X, y), wrong=LABELS == 1
    ),
    "further": lambda m, i: further_training(m, X, y, MOVED, LABELS),
    "leave-one-out": lambda m, i: leave_one_out(m, MOVED, LABELS, ValidationData(X, y)),
    "noise": lambda m, i: instance_dependent_noise(MOVED, LABELS, 0.1),
    "decisions": lambda m, i: apply_decisions(MOVED, LABELS, None),
    "page": lambda m, i: review_page("never", MOVED, given=LABELS, suggested=y, scores=y),
    "descriptions": lambda m, i: review_page(
        "never", TABLE, given=y, suggested=y, scores=y, descriptions=MOVED[0].astype(str)
    ),
    "mask of remove": lambda m, i: on_table().remove(MOVED.index.to_series() < 3),
    "mask of relabel": lambda m, i: on_table().relabel(MOVED.index.to_series() < 3, [0, 0, 0]),
    "labels of an Index": lambda m, i: i.relabel(pd.Index([2, 5, 1]), LABELS[[1, 2, 5]]),
    "labels of positions": lambda m, i: i.relabel([2, 5, 1], LABELS[[1, 2, 5]]),
    "labels of a Series": lambda m, i: i.relabel(
        pd.Series([2, 5, 1], ["c", "a", "b"]), pd.Series([0, 1, 1], ["a", "b", "c"])
    ),
    "labels of a mask": lambda m, i: on_table().relabel(TABLE.index < 3, LABELS[[2, 1, 0]]),
    "curve": lambda m, i: DetectionCurveDisplay.from_estimator(on_table(), MOVED[0] > 0),
    "agreement": lambda m, i: agreement(MOVED[0], TABLE[0]),
    "agreement by query": lambda m, i: agreement(MOVED, TABLE),
    "datamodelling": lambda m, i: linear_datamodelling_score(MOVED[0], TABLE.T > 0, [1.0, 2.0]),
    "subsets": lambda m, i: linear_datamodelling_score(X[0], TABLE > 0, MOVED[0]),
    "queries": lambda m, i: linear_datamodelling_score(MOVED, X[:2] > 0, TABLE.iloc[:, :2]),
    "similarities": lambda m, i: similarities(MOVED[0], TABLE[[0]].T, [1]),
    "amounts": lambda m, i: similarities(X[0], TABLE, MOVED[0]),
    "components": lambda m, i: review_page(
        "never", TABLE, given=y, suggested=y, scores=y, score_components={"network": MOVED[0]}
    ),
    "label scores": lambda m, i: review_page(
        "never", TABLE, given=y, suggested=y, scores=y, label_scores=MOVED
    ),
    "what if": lambda m, i: WhatIfDisplay(MOVED, LABELS).plot(),
    "distribution": lambda m, i: ScoreDistributionDisplay(MOVED[0], labels=LABELS).plot(),
    "detection curve": lambda m, i: DetectionCurveDisplay(LABELS == 1, MOVED[0]).plot(),
    "removal scores": lambda m, i: RemovalCurveDisplay.from_estimator(
        m, TABLE, y, X_test=X, y_test=y, scores=MOVED[0]
    ),
    "detection": lambda m, i: detection(MOVED[0], LABELS == 1),
    "confusion": lambda m, i: LabelConfusionDisplay(MOVED[0], LABELS).plot(),
    "removal": lambda m, i: RemovalCurveDisplay.from_estimator(
        m, MOVED, LABELS, X_test=X, y_test=y, scores=y
    ),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_another_order_is_refused(door, model, influence):
    with pytest.raises(
        ValueError, match=r"have the same (index|columns) in another order, .*\.to_numpy\(\)"
    ):
        door(model, influence)


SORTED = MOVED[0]  # as a column of issues_, whose rows have the default index, sorted by score
BESIDE_ARRAYS = {
    "detection": lambda i: detection(SORTED, y == 1),
    "detection_curve": lambda i: detection_curve(SORTED, y == 1),
    "agreement": lambda i: agreement(SORTED, X[:, 0]),
    "truth": lambda i: agreement(X[:, 0], SORTED),
    "agreement by query": lambda i: agreement(MOVED.T, X.T),
    "datamodelling": lambda i: linear_datamodelling_score(SORTED, X.T > 0, y),
    "values": lambda i: linear_datamodelling_score(X[0], X > 0, SORTED),
    "similarities": lambda i: similarities(SORTED, X[:, :1].T, [1]),
    "removal_curve": lambda i: removal_curve(SORTED, np.mean),
    "mask": lambda i: i.remove(SORTED > 0),
    "mask of relabel": lambda i: i.relabel(SORTED > 0, y),
    "page": lambda i: review_page("never", X, given=y, suggested=y, scores=SORTED),
    "compare": lambda i: compare(
        ["gif"], SAMClassifier(), X, y, validation=ValidationData(X, y), truth=SORTED
    ),
    "curve": lambda i: DetectionCurveDisplay(y == 1, SORTED).plot(),
    "distribution": lambda i: ScoreDistributionDisplay(SORTED, labels=y).plot(),
    "confusion": lambda i: LabelConfusionDisplay(y, SORTED > 0).plot(),
    "what if": lambda i: WhatIfDisplay(X, y, scores=SORTED).plot(),
    "removal": lambda i: RemovalCurveDisplay.from_estimator(
        SAMClassifier(), X, y, X_test=X, y_test=y, scores=SORTED
    ),
}


@pytest.mark.parametrize("door", BESIDE_ARRAYS.values(), ids=BESIDE_ARRAYS)
def test_a_sorted_table_beside_arrays_is_refused(door, influence):
    with pytest.raises(
        ValueError, match=r"holds 0 to 39 in another order, .*sort_index\(.*\.to_num"
    ):
        door(influence)


def test_sorted_again_a_column_is_that_of_the_rows():
    assert detection(SORTED.sort_index(), y == 1).equals(detection(X[:, 0], y == 1))


def test_labels_in_the_order_of_their_rows_are_taken():
    fitted = SAMInfluence(
        SAMClassifier(max_epochs=1), validation=ValidationData(X, y), random_state=0
    ).fit(MOVED, LABELS[MOVED.index])
    positions, labels = [5, 3], [0, 2]
    expected = fitted.relabel(positions, labels).predict_proba(X)
    for index in (positions, MOVED.index[positions], None, ["a", "b"]):
        found = fitted.relabel(positions, pd.Series(labels, index)).predict_proba(X)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"labels\.loc\[X\.index\[indices\]\]"):
        fitted.relabel(positions, pd.Series(labels, MOVED.index[positions[::-1]]))


def test_a_mask_may_be_a_table_of_one_column(influence):
    mask = pd.DataFrame({"wrong": np.arange(40) < 3})
    expected = influence.remove([0, 1, 2]).predict_proba(X)
    np.testing.assert_array_equal(influence.remove(mask).predict_proba(X), expected)


def test_labels_of_rows_are_no_positions():
    validation = ValidationData(X, y)
    moved = SAMInfluence(
        SAMClassifier(max_epochs=1), method="grad-dot", validation=validation, random_state=0
    ).fit(MOVED, LABELS[MOVED.index])
    labels = MOVED.index[[3, 5]]
    with pytest.raises(ValueError, match=r"positions .* X\.index\.get_indexer\(indices\)"):
        moved.remove(labels)
    with pytest.raises(ValueError, match=r"positions .* X\.index\.get_indexer\(indices\)"):
        moved.relabel(labels, y[[3, 5]])
    edited = moved.remove(MOVED.index.get_indexer(labels), how="replay")
    assert edited.edit_["n_removed"] == 2
    assert on_table().remove(TABLE.index[[3, 5]]).edit_["n_removed"] == 2


def test_columns_in_another_order_are_refused():
    with pytest.raises(
        ValueError, match=r"same columns in another order, .*truth\[scores\.columns"
    ):
        agreement(TABLE, TABLE[TABLE.columns[::-1]])
    found = agreement(TABLE, TABLE[TABLE.columns[::-1]].to_numpy())["pearson"]
    expected = [np.corrcoef(*pair)[0, 1] for pair in zip(X, X[:, ::-1], strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_labels_of_other_indices_are_paired_by_position():
    elsewhere = MOVED.set_axis(range(100, 140))
    found = [
        SAMClassifier(max_epochs=1, random_state=0).fit(table, labels).predict_proba(X)
        for table, labels in ((MOVED.to_numpy(), y), (elsewhere, LABELS), (MOVED, y))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", "c"], ["d", "e", "f"]),
        (range(3), range(1, 4)),
        ([1, 2, 3], range(3)),
        ([0, 1, 2], [1, 0]),
        ([("a", 1), ("a", 2)], [("a", 1), ("a", 2)]),
    ],
)
def test_what_is_not_the_same_set_in_another_order_passes(one, other):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_order(X=pd.Series(range(len(one)), one), y=pd.Series(range(len(other)), other))


def test_indices_that_overlap_are_warned_of_once():
    labels = LABELS.set_axis(range(2, 42))
    with pytest.warns(AttributionWarning, match=r"X and y have .* \(39 of 40 labels") as said:
        SAMInfluence(SAMClassifier(max_epochs=1), random_state=0).fit(
            TABLE.set_axis(range(1, 41)), labels
        )
    assert sum("indices" in str(each.message) for each in said) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0, "a", None], [None, 0, "a"]),
        ([0, 0, 1, 1], [0, 1, 0, 1]),
        (pd.MultiIndex.from_tuples([("a", 1), ("b", 1)]), [("b", 1), ("a", 1)]),
        (pd.date_range("2020", periods=3), pd.date_range("2020", periods=3)[::-1]),
    ],
)
def test_any_kind_of_index_is_compared(one, other):
    with pytest.raises(ValueError, match=r"y and sample_weight have .* sample_weight\.loc\[y\.ind"):
        check_order(
            X=np.zeros(len(one)),
            y=pd.Series(range(len(one)), one),
            sample_weight=pd.Series(range(len(other)), other),
        )
