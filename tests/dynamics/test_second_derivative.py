"""A part that torch would take for constant in a second derivative is refused."""

import pytest
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import Unrolled
from tests.models import Cubed, tabular


def test_unrolled_refuses_what_has_one_derivative():
    X, y, _ = tabular()
    module = nn.Sequential(nn.Linear(6, 3), Cubed())
    net = SAMClassifier(module, max_epochs=1, random_state=0, dtype="float64")
    influence = SAMInfluence(net, method=Unrolled(check=None), random_state=0)
    with pytest.raises(ValueError, match=r"is once_differentiable, .* such as \"gif\""):
        influence.fit(X, y)
