"""What ``trusted`` says about validation labels, and rows that are in both sets."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sam_attribution import MislabelDetector, SAMClassifier, ValidationData
from sam_attribution.detection._overlap import warn_of_overlap
from sam_attribution.exceptions import AttributionWarning

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 2, 240)
X = (RNG.normal(size=(240, 4)) + 2 * TRUE[:, None]).astype("float32")
WRONG = RNG.random(240) < 0.2
Y = np.where(WRONG, 1 - TRUE, TRUE)
CHECKED = ValidationData(X[160:], TRUE[160:])


def judged(trusted, validation=CHECKED):
    network = SAMClassifier(max_epochs=3, random_state=0)
    return MislabelDetector(network, validation=validation, trusted=trusted).fit(X[:160], Y[:160])


@pytest.mark.parametrize("trusted", [True, False])
def test_what_the_user_knows_is_believed(trusted):
    detector = judged(trusted)
    says = "trusted" if trusted else "as noisy"
    assert detector.diagnostics_["validation"].tolist() == [says]
    assert ("trusted" in detector.score_components_) == trusted


def test_trust_needs_rows_that_can_have_it():
    with pytest.raises(ValueError, match=r"trusted=True needs validation=ValidationData\(X, y\)"):
        judged(True, validation=0.2)
    with pytest.raises(ValueError, match="trusted"):
        judged("perhaps")


def problem(rows):
    return SimpleNamespace(X=torch.as_tensor(rows), rows_per_pass=50)


def test_rows_in_both_sets_are_counted_and_one_is_named():
    both = np.concatenate([X[150:], X[[7, 9]]])  # 10 rows and 2
    with pytest.warns(AttributionWarning, match=r"12 of the 92 rows .* row 0 .* is row 150 of X"):
        warn_of_overlap(problem(X[:160]), torch.as_tensor(both))


def test_rows_that_are_alike_anyway_are_no_overlap():
    few_values = RNG.integers(0, 2, (200, 4)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_overlap(problem(X[:160]), torch.as_tensor(X[160:]))
        warn_of_overlap(problem(few_values[:150]), torch.as_tensor(few_values[150:]))
