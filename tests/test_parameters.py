import torch
from torch import nn

from sam_attribution.parameters import ParameterLayout


def test_round_trip_with_frozen_and_tied_weights():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    module[1].weight = module[0].weight
    module[2].bias.requires_grad_(False)
    layout = ParameterLayout(module)
    assert layout.names == ("0.weight", "0.bias", "1.bias", "2.weight")
    flat = layout.vector_of(module)
    assert flat.shape == (layout.size,) == (9 + 3 + 3 + 6,)
    for name, value in layout.unflatten(flat).items():
        assert torch.equal(value, module.get_parameter(name))
    assert torch.equal(layout.flatten(layout.unflatten(flat)), flat)


def test_layers_hold_weight_and_bias_together():
    module = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2, bias=False)))
    module.register_parameter("scale", nn.Parameter(torch.ones(2)))
    layers = ParameterLayout(module).layers()
    assert {name: index.tolist() for name, index in layers.items()} == {
        "": [0, 1],
        "0": list(range(2, 10)),
        "1.0": list(range(10, 14)),
    }
