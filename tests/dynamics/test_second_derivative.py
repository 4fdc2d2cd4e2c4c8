"""A part that torch would take for constant in a second derivative is refused."""

import pytest
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.dynamics import OnceDifferentiable, missing_derivatives_named
from sam_attribution.methods import Unrolled
from tests.models import Cubed, tabular


def test_unrolled_refuses_what_has_one_derivative():
    X, y, _ = tabular()
    module = nn.Sequential(nn.Linear(6, 3), Cubed())
    net = SAMClassifier(module, max_epochs=1, random_state=0, dtype="float64")
    influence = SAMInfluence(net, method=Unrolled(check=None), random_state=0)
    with pytest.raises(ValueError, match=r"is once_differentiable, .* such as \"gif\""):
        influence.fit(X, y)


@pytest.mark.parametrize(
    "said",
    [
        "derivative for aten::grid_sampler_2d_backward is not implemented",
        "the derivative for '_cdist_backward' is not implemented.",
        "trying to differentiate twice a function that was marked with @once_differentiable",
    ],
)
def test_torch_says_that_there_is_no_second_derivative(said):
    named = pytest.raises(OnceDifferentiable, match=f"no second derivative .*{said[:30]}")
    with named, missing_derivatives_named():
        raise RuntimeError(said)


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="sizes do not match"), missing_derivatives_named():
        raise RuntimeError("sizes do not match")
