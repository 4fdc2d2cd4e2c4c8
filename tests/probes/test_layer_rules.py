"""Forward-mode rules of single layers against torch's own, and when they leave a layer alone."""

import pytest
import torch
from torch import nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import functional_call

from sam_attribution.probes._layer_rules import LayerRules

IMAGES = (6, 5, 5)
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), (6,)),
    "linear over positions": (lambda: nn.Linear(5, 4), IMAGES),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3), (6, 5)),
    "conv2d": (lambda: nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2), IMAGES),
    "conv2d circular": (lambda: nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"), IMAGES),
    "conv3d": (lambda: nn.Conv3d(6, 2, 2, bias=False), (6, 3, 3, 3)),
    "batch norm": (lambda: nn.BatchNorm2d(6, eps=1e-2), IMAGES),
    "batch norm of features": (lambda: nn.BatchNorm1d(6), (6,)),
    "batch norm, not affine": (lambda: nn.BatchNorm2d(6, affine=False), IMAGES),
    "batch norm of batches": (lambda: nn.BatchNorm2d(6, track_running_stats=False), IMAGES),
    "group norm": (lambda: nn.GroupNorm(3, 6, eps=1e-2), IMAGES),
    "group norm of features": (lambda: nn.GroupNorm(2, 6), (6,)),
    "group norm, not affine": (lambda: nn.GroupNorm(3, 6, affine=False), IMAGES),
}


def random_layer(name):
    """Layer in evaluation mode with random parameters and statistics, input, their tangents."""
    torch.manual_seed(0)
    build, shape = LAYERS[name]
    layer = build().double().eval()
    state = dict(layer.state_dict(keep_vars=False))
    numbers = {n: torch.rand_like(v) + 0.5 for n, v in state.items() if v.is_floating_point()}
    layer.load_state_dict(state | numbers)
    values = {"x": torch.randn(4, *shape, dtype=torch.float64) + 1}
    values |= {n: p.detach() for n, p in layer.named_parameters()}
    return layer, values, {n: torch.randn_like(v) for n, v in values.items()}


def pushed(layer, values, tangents):
    """Output and its tangent."""
    with torch.no_grad(), dual_level():
        duals = {n: make_dual(v, tangents[n]) if n in tangents else v for n, v in values.items()}
        return unpack_dual(functional_call(layer, duals, (duals.pop("x"),)))


@pytest.mark.slow
@pytest.mark.parametrize("without", ["nothing", "x", "weight", "bias"])
@pytest.mark.parametrize("name", LAYERS)
def test_rules_agree_with_torch(name, without):
    layer, values, tangents = random_layer(name)
    tangents.pop(without, None)
    expected = pushed(layer, values, tangents)
    with LayerRules():
        found = pushed(layer, values, tangents)
    assert (found.tangent is None) == (expected.tangent is None)
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=1e-12, atol=1e-12)


def test_no_product_with_a_missing_tangent():
    layer, values, tangents = random_layer("linear")
    del tangents["x"]

    def multiplications():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            pushed(layer, values, tangents)
        return sum(event.name in ("aten::mm", "aten::addmm") for event in profile.events())

    torchs = multiplications()
    with LayerRules():
        assert multiplications() == 2 < torchs


def test_strided_input():
    layer, values, tangents = random_layer("group norm")
    for which in (values, tangents):
        which["x"] = which["x"].transpose(2, 3)
    expected = pushed(layer, values, tangents)
    with LayerRules():
        found = pushed(layer, values, tangents)
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=1e-12, atol=1e-12)


def test_group_norm_far_from_zero():
    layer, values, tangents = random_layer("group norm")
    values["x"] += 1e4
    expected = pushed(layer, values, tangents)
    with LayerRules():
        found = pushed(layer, values, tangents)
    torch.testing.assert_close(found.tangent, expected.tangent, rtol=1e-6, atol=1e-6)
