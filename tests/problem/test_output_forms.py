"""Outputs of any form as one vector per row, and back."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from sam_attribution.problem import OutputRows, Problem
from sam_attribution.training import OutputForm, flat_output

Pair = namedtuple("Pair", ["a", "b"])
x = torch.arange(24.0).reshape(4, 2, 3)
FORMS = {
    "one number": x[:, 0, 0],
    "a column": x[:, 0, :1],
    "a vector": x[:, 0],
    "an image": x,
    "tuple": (x, x[:, 0, 0]),
    "list in a dict": {"a": [x[:, 0], x[:, 1, 1]], "b": x},
    "named tuple": Pair(x, {"c": x[:, 1]}),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_form_is_restored(name):
    output = FORMS[name]
    flat = flat_output(output)
    assert flat.shape[0] == 4
    assert flat.ndim == 2
    restored = OutputForm(output).restored(flat)
    torch.testing.assert_close(restored, output, rtol=0, atol=0)
    assert type(restored) is type(output)


def test_rows_of_other_lengths_and_other_objects_are_named():
    form = OutputForm(x)
    with pytest.raises(ValueError, match=r"4 numbers for some rows and 6 for others. Pad the rows"):
        form.restored(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="tensors in a tuple, list or dict, got str"):
        flat_output({"a": "b"})


def test_a_bare_problem_takes_a_form():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 4))).double().eval()
    X = torch.randn(5, 3, dtype=torch.float64)
    y = torch.randint(2, (5, 4))
    row_loss = OutputRows(nn.CrossEntropyLoss(), OutputForm(module(X)))
    problem = Problem(module=module, X=X, y=y, n_classes=None, row_loss=row_loss)
    found = row_loss.per_sample(problem.logits(problem.params, {}, X), y)
    expected = nn.functional.cross_entropy(module(X), y, reduction="none").mean(1)
    torch.testing.assert_close(found, expected)
