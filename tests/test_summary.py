"""Results with long arrays print as a line for each field."""

from dataclasses import replace

import numpy as np
import torch

from sam_attribution._summary import described
from sam_attribution.comparison import LeftOutEffects
from sam_attribution.dynamics import Tangent
from sam_attribution.linalg import Solution
from sam_attribution.probes import Probe
from sam_attribution.retraining import FurtherTrainingValues


def test_arrays_print_as_shape_and_range():
    scores = np.array([0.25, np.nan, -0.125])
    effects = LeftOutEffects(scores, None, np.ones((1, 3)), "model")
    assert repr(effects).splitlines() == [
        "LeftOutEffects",
        "  scores           shape (3,), -0.125 to 0.25, 1 NaN",
        "  standard_errors  None",
        "  group_effects    shape (1, 3), 1 to 1",
        "  estimator        'model'",
    ]


def test_long_results_fit_the_console():
    values = FurtherTrainingValues(
        np.arange(3), np.arange(200), np.zeros((3, 2, 50, 200)), np.zeros((3, 2, 50))
    )
    solution = Solution(torch.ones(400, 2), True, 12, 1 / 3)
    for printed in (repr(values), repr(solution)):
        assert len(printed.splitlines()) == 5 + printed.startswith("Further")
        assert max(map(len, printed.splitlines())) <= 80
    assert "residual   0.3333" in repr(solution)


def test_a_long_text_is_cut():
    effects = LeftOutEffects(np.zeros(0), None, np.full((1, 2), np.nan), "word " * 50)
    lines = repr(effects).splitlines()
    assert "shape (0,)" in lines[1]
    assert lines[3].endswith("all NaN")
    assert lines[4].endswith("...")
    assert max(map(len, lines)) <= 80


def test_what_an_object_holds_is_named_and_not_its_address():
    module = torch.nn.Linear(3, 2)
    assert described(module) == "Linear, 8 parameters"
    assert described({"mean": torch.ones(2), "var": torch.ones(2)}) == "mean, var"
    assert described(torch.nn.functional.relu) == "relu"
    assert described(object()) == "object"
    assert described((torch.zeros(2), None)) == "shape (2,), 0 to 0; None"
    assert described([np.arange(2)] * 9).startswith("9 entries: shape (2,), 0 to 1; ")


def test_a_named_tuple_prints_as_a_dataclass_does():
    tangent = Tangent(torch.zeros(2, 300), {}, (torch.ones(2, 300), None))
    assert repr(tangent).splitlines() == [
        "Tangent",
        "  params   shape (2, 300), 0 to 0",
        "  buffers  none",
        "  memory   shape (2, 300), 1 to 1; None",
    ]


def test_what_was_left_at_none_is_left_out():
    probe = Probe(torch.zeros(3), torch.ones(3, 1), {})
    assert "rows" not in repr(probe)
    assert "rows        shape (2,), 0 to 1" in repr(replace(probe, rows=torch.arange(2)))


def test_a_notebook_shows_a_row_for_each_field():
    effects = LeftOutEffects(np.array([0.25, -0.125]), None, np.ones((1, 3)), "<model>")
    html = effects._repr_html_()
    assert html.count("<tr>") == 4
    assert "<td>shape (2,), -0.125 to 0.25</td>" in html
    assert "&lt;model&gt;" in html
