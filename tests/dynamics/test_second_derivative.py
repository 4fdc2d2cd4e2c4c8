"""A part that torch would take for constant in a second derivative is refused."""

import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import Unrolled
from tests.models import tabular


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


class Cubed(nn.Module):
    def forward(self, X):
        return Cube.apply(X)


def test_unrolled_refuses_what_has_one_derivative():
    X, y, _ = tabular()
    module = nn.Sequential(nn.Linear(6, 3), Cubed())
    net = SAMClassifier(module, max_epochs=1, random_state=0, dtype="float64")
    influence = SAMInfluence(net, method=Unrolled(check=None), random_state=0)
    with pytest.raises(ValueError, match=r"is once_differentiable, .* such as \"gif\""):
        influence.fit(X, y)
