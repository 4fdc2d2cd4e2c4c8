"""A module called many times with other tensors: torch's functional call, without the search."""

import pytest
import torch
from torch import nn

from sam_attribution.problem._functional_call import RepeatedCall


class Tied(nn.Module):
    """One linear layer under two names, batch norm, and an error on demand."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        x = self.second(torch.tanh(self.norm(self.first(x))))
        if x.isnan().any():
            raise FloatingPointError
        return x


def test_it_is_the_functional_call_of_torch_and_leaves_the_module_alone():
    torch.manual_seed(0)
    module, X = Tied().double().eval(), torch.randn(5, 4, dtype=torch.float64)
    own = {
        name: (tensor, tensor.clone()) for name, tensor in module.state_dict(keep_vars=True).items()
    }
    call = RepeatedCall(module)
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    other = {name: t + 1 if t.is_floating_point() else t.clone() for name, t in named.items()}
    for tensors in (other, {"norm.running_mean": other["norm.running_mean"]}):
        expected = torch.func.functional_call(module, tensors, (X,))
        torch.testing.assert_close(call(tensors, X), expected, rtol=0, atol=0)
    with pytest.raises(FloatingPointError):
        call(other, X * torch.nan)
    for name, tensor in module.state_dict(keep_vars=True).items():
        kept, value = own[name]
        assert tensor is kept
        assert torch.equal(tensor, value)
