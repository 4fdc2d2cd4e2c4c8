"""Results with long arrays print as a line for each field."""

import numpy as np
import torch

from sam_attribution.comparison import LeftOutEffects
from sam_attribution.linalg import Solution
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
