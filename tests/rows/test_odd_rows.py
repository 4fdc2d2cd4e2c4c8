"""Tensors without values or rows, and tables that name two columns alike, are refused by name."""

import warnings

import pandas as pd
import pytest
import torch
from torch import nn

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.datasets import instance_dependent_noise
from sam_attribution.review import review_page
from tests.rows.data import X, Y, net


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([*torch.as_tensor(X)])


ODD = {
    "meta": (lambda: torch.as_tensor(X).to("meta"), "X must be an ordinary tensor, .*device meta"),
    "nested": (nested, "X must be an ordinary tensor, got a nested one. Pad its rows"),
    "sparse": (lambda: torch.as_tensor(X).to_sparse(), "X must be a dense tensor.*to_dense"),
    "columns": (
        lambda: pd.DataFrame(X, columns=list("abcda")),
        r"X has more than one column 'a'\. Rename .* X\.to_numpy\(\)",
    ),
}
ODD_DOORS = {
    "net": lambda rows: net().fit(rows, Y),
    "default": lambda rows: SAMClassifier(max_epochs=1).fit(rows, Y),
    "predict": lambda rows: net().fit(X, Y).predict(rows),
    "influence": lambda rows: SAMInfluence(net()).fit(rows, Y),
    "detector": lambda rows: MislabelDetector(net()).fit(rows, Y),
    "filter": lambda rows: FilteredClassifier(net()).fit(rows, Y),
    "validation": lambda rows: ValidationData(rows, Y),
    "from_module": lambda rows: SAMClassifier.from_module(nn.Linear(5, 2), rows, Y),
    "noise": lambda rows: instance_dependent_noise(rows, Y, 0.1),
}


@pytest.mark.parametrize("door", ODD_DOORS.values(), ids=ODD_DOORS)
@pytest.mark.parametrize(("rows", "message"), ODD.values(), ids=ODD)
def test_tensors_and_tables_that_have_no_rows_or_names_are_named(door, rows, message):
    with pytest.raises((ValueError, TypeError), match=message):
        door(rows())


@pytest.mark.parametrize("rows", [nested, ODD["meta"][0]])
def test_the_page_names_them_too(rows):
    with pytest.raises(TypeError, match="X must be an ordinary tensor"):
        review_page("never", rows(), given=Y, suggested=Y, scores=Y)
