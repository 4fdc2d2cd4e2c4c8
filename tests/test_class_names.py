"""Names of classes, by position and by label."""

import numpy as np
import pytest

from sam_attribution._class_names import class_texts, named_classes

CLASSES = np.array(["ant", "bee"])


def test_names_by_position_and_by_label():
    pairs = [("ant", "A"), ("bee", "1")]
    assert named_classes(["A", 1], CLASSES) == named_classes({"ant": "A", "bee": 1}) == pairs
    assert named_classes(["A", "B"]) == [(0, "A"), (1, "B")]
    assert named_classes(None, CLASSES) == []


def test_labels_without_a_name_are_written():
    assert class_texts(CLASSES, {"bee": "B"}) == ["ant", "B"]
    assert class_texts(np.array([0.0, 2.0]), None) == ["0", "2"]
    assert class_texts([1.23456, np.str_("cat")], None) == ["1.23", "cat"]
    assert class_texts(np.array([1, 0, 1]), ["A", "B"]) == ["B", "A", "B"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CLASSES, ["A"], CLASSES), "one name for each of the 2 classes, got 1. A dict"),
        (([0, 2], ["A", "B"]), "class_names has no name for the label 2: a sequence names 0, 1"),
        (([-1], ["A", "B"]), "class_names has no name for the label -1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        class_texts(*arguments)
