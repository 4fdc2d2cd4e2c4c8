"""Rows and evaluations that no score can come from are named, not answered with zeros."""

import numpy as np
import pandas as pd
import pytest

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.exceptions import AttributionWarning
from tests.adopted import VALIDATION, X, Y, module

TEXTS = ["good film", "bad film"] * 16
FORMS = {"list": TEXTS, "array": np.array(TEXTS), "series": pd.Series(TEXTS)}
SAID = r"holds texts, such as 'good film'.* a tokenizer gives.* in a Pipeline"


@pytest.mark.parametrize("kind", [SAMClassifier, SAMInfluence, MislabelDetector])
@pytest.mark.parametrize("form", FORMS)
def test_texts_are_to_be_tokenized(kind, form):
    with pytest.raises(ValueError, match=f"^X {SAID}"):
        kind().fit(FORMS[form], Y)


def test_so_are_those_of_the_validation_rows():
    influence = SAMInfluence(validation=ValidationData(TEXTS, Y))
    with pytest.raises(ValueError, match=f"^X of validation {SAID}"):
        influence.fit(X, Y)


def test_scores_that_are_all_0_are_told():
    """A constant has a gradient for torch, which is 0."""
    net = SAMClassifier(module(), dtype="float64", random_state=0, max_epochs=1)
    influence = SAMInfluence(
        net, method="grad-dot", validation=VALIDATION, evaluation=lambda z, y: 0 * z[:, 0] + 1
    )
    with pytest.warns(AttributionWarning, match=r"Every score is 0\. The gradient of the eval"):
        influence.fit(X, Y)
    assert not influence.scores_.any()
