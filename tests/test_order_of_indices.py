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
from sam_attribution.metrics import agreement, detection
from sam_attribution.plotting import (
    DetectionCurveDisplay,
    LabelConfusionDisplay,
    RemovalCurveDisplay,
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
    "curve": lambda m, i: DetectionCurveDisplay.from_estimator(on_table(), MOVED[0] > 0),
    "agreement": lambda m, i: agreement(MOVED[0], TABLE[0]),
    "detection": lambda m, i: detection(MOVED[0], LABELS == 1),
    "confusion": lambda m, i: LabelConfusionDisplay(MOVED[0], LABELS).plot(),
    "removal": lambda m, i: RemovalCurveDisplay.from_estimator(
        m, MOVED, LABELS, X_test=X, y_test=y, scores=y
    ),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_another_order_is_refused(door, model, influence):
    with pytest.raises(ValueError, match=r"have the same index in another order, .*\.to_numpy\(\)"):
        door(model, influence)


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
