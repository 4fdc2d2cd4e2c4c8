"""Labels of nullable and other pandas types keep their type and value wherever they are read."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution._as_arrays import values_of
from sam_attribution._validation import codes_among
from sam_attribution.datasets import instance_dependent_noise
from tests.models import tabular

X, y, _ = tabular(60)
LARGE = np.array([2**60, 2**60 + 1, 2**60 + 2])  # all alike as floats
LABELS = {
    "large integers": (pd.Series(LARGE[y], dtype="Int64"), LARGE),
    "unsigned": (pd.Series(LARGE[y], dtype="UInt64"), LARGE.astype("uint64")),
    "booleans": (pd.Series(y == 1, dtype="boolean"), np.array([False, True])),
    "strings": (pd.Series(y.astype(str), dtype="string"), np.array(["0", "1", "2"], object)),
    "categories": (pd.Series(pd.array(LARGE[y], dtype="Int64")).astype("category"), LARGE),
    "an array": (pd.array(LARGE[y], dtype="Int64"), LARGE),
}


def classifier(**settings):
    return SAMClassifier(**{"max_epochs": 2, "random_state": 0} | settings)


@pytest.mark.parametrize(("given", "classes"), LABELS.values(), ids=LABELS)
def test_values_stay_exactly(given, classes):
    found = values_of(given, "y")
    assert found.dtype == classes.dtype
    assert found.tolist() == classes[(y == 1).astype(int) if len(classes) == 2 else y].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large integers", "booleans"])
def test_classes_keep_type_and_value(name):
    given, classes = LABELS[name]
    plain = given.to_numpy(dtype=classes.dtype)
    model = classifier().fit(X, given)
    held_out = ValidationData(X[:20], given[:20])
    detector = MislabelDetector(classifier(), random_state=0, validation=held_out).fit(X, given)
    influence = SAMInfluence(classifier(), random_state=0).fit(X, given)
    filtered = FilteredClassifier(classifier(), removal_fraction=0).fit(X, given)
    for fitted in (model, detector, influence, filtered):
        assert fitted.classes_.dtype == classes.dtype
        assert fitted.classes_.tolist() == classes.tolist()
    assert detector.given_labels_.tolist() == plain.tolist()
    assert held_out.y.dtype == classes.dtype
    right = np.mean(model.predict(X) == plain)
    assert model.score(X, given) == right
    assert filtered.score(X, given) == np.mean(filtered.predict(X) == plain)
    np.testing.assert_array_equal(
        influence.attribute(X[:5], given[:5]), influence.attribute(X[:5], plain[:5])
    )


def test_signed_and_unsigned_labels_are_compared_as_integers():
    assert codes_among(LARGE.astype("uint64"), LARGE).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"not in fit: \[-1\]"):
        codes_among(LARGE.astype("uint64"), np.array([-1]))


@pytest.mark.parametrize("kind", ["Int64", "boolean", "string", "category", "object", "list"])
def test_missing_labels_are_named(kind):
    values = ["a", pd.NA, "b"] * 20 if kind in ("string", "object", "list") else [0, pd.NA, 1] * 20
    given = values if kind == "list" else pd.Series(values, dtype=kind)
    doors = (
        classifier().fit,
        MislabelDetector(classifier()).fit,
        FilteredClassifier(classifier()).fit,
        ValidationData,
        lambda X, y: instance_dependent_noise(X, y, 0.1),
    )
    for door in doors:
        with pytest.raises(
            ValueError, match=r"Input y contains NaN: 20 missing .* in row 1\. Drop"
        ):
            door(X, given)


def test_nullable_targets_of_a_regressor():
    targets = pd.Series(X[:, 0], dtype="Float64")
    fitted = SAMRegressor(max_epochs=2, random_state=0).fit(X, targets)
    plain = SAMRegressor(max_epochs=2, random_state=0).fit(X, X[:, 0])
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        fitted.fit(X, targets.mask(targets.index == 3))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(self.words(ids).mean(1))


def test_nullable_integers_of_a_table_stay_integers():
    ids = pd.DataFrame(np.random.default_rng(0).integers(0, 10, (60, 3)), columns=list("abc"))
    mixed = ids.astype({"a": "Int64", "b": "UInt8"})
    fitted, plain = (classifier(module=Tokens).fit(table, y) for table in (mixed, ids))
    np.testing.assert_array_equal(fitted.predict_proba(mixed), plain.predict_proba(ids))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted.predict(mixed.mask(mixed["a"] == 3))


def test_arrow_strings_and_integers():
    pytest.importorskip("pyarrow")
    for dtype, values in (("int64[pyarrow]", LARGE), ("string[pyarrow]", LARGE.astype(str))):
        found = values_of(pd.Series(values, dtype=dtype), "y")
        assert found.tolist() == values.tolist()


def test_other_data_are_returned_as_they_are():
    for data in (X, y, [0, 1], pd.Series(y), pd.DataFrame(X)):
        assert values_of(data, "y") is data
    assert values_of(torch.tensor([1, 2]), "y").tolist() == [1, 2]
