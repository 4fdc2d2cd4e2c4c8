"""Second derivatives that are not those of the gradient are refused; kinks raise no false alarm."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sam_attribution.curvature import _gradient_derivative as gradient_derivative
from sam_attribution.curvature import check_second_derivative
from sam_attribution.methods import GIF, HIF, InfluenceFunction, IntegratedUnrolled, Unrolled
from sam_attribution.problem import GenericRows, Head, Problem
from sam_attribution.retraining import FixedPoint, LeaveOneOut

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).clamp_min(0)
y = torch.arange(8) % 3
SGD = torch.optim.SGD([torch.zeros(1)], lr=0.1)


class Net(nn.Module):
    def __init__(self, bend):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head, self.bend = nn.Linear(6, 40), nn.Linear(40, 3), bend
        nn.init.zeros_(self.layer.bias)

    def forward(self, X):
        return self.head(self.bend(self, self.layer(X)))


def problem_of(bend, dtype="float64", rows=X, **settings):
    dtype = getattr(torch, dtype)
    module = Net(bend).to(dtype).eval()
    return Problem(module=module, X=rows.to(dtype), y=y, n_classes=3, **settings)


STOPS = {
    "detach": lambda net, h: torch.tanh(h) * h.detach().sigmoid(),
    "data": lambda net, h: torch.tanh(h) * (1 + net.layer.weight.data.norm()),
    "straight through": lambda net, h: h + (h.round() - h).detach(),
}
KINKS = {
    "relu": lambda net, h: F.relu(h),
    "leaky": lambda net, h: F.leaky_relu(h, 0.3),
    "hardtanh": lambda net, h: F.hardtanh(5 * h),
    "max": lambda net, h: F.max_pool1d(h, 2).repeat(1, 2),
    "abs": lambda net, h: h.abs().sqrt(),
    "linear": lambda net, h: h,
    "steep": lambda net, h: torch.tanh(100 * h),
    "norm": lambda net, h: F.normalize(h, dim=1),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_gradient_is_refused(stop):
    problem = problem_of(STOPS[stop])
    leaf = problem.params.clone().requires_grad_()
    with torch.enable_grad():
        loss = problem.weighted_loss(leaf, {}, torch.arange(8))
        gradient = torch.autograd.grad(loss, leaf, create_graph=True)[0]
    along = torch.randn_like(leaf)
    product = torch.autograd.grad(gradient, leaf, along)[0]
    ahead, behind = (problem.mean_gradient(leaf + s * 1e-6 * along, {}) for s in (1, -1))
    difference = 8 * (ahead - behind) / 2e-6
    assert (product - difference).norm() > 0.03 * difference.norm()
    with pytest.raises(ValueError, match="torch has a wrong second derivative of module Net"):
        check_second_derivative(problem)


@pytest.mark.slow
@pytest.mark.parametrize("kink", KINKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [X, torch.zeros(8, 6)], ids=["rows", "zeros"])
def test_kinks_raise_no_false_alarm(kink, dtype, rows):
    check_second_derivative(problem_of(KINKS[kink], dtype, rows))


def test_the_padding_of_an_embedding_raises_no_false_alarm():
    layers = nn.Embedding(5, 4, padding_idx=0), nn.Flatten(), nn.GELU(), nn.Linear(24, 3)
    rows = torch.arange(48).view(8, 6) % 5  # padding in every row
    module = nn.Sequential(*layers).double().eval()
    check_second_derivative(Problem(module=module, X=rows, y=y, n_classes=3))


def test_a_kink_that_is_crossed_is_tried_again(monkeypatch):
    monkeypatch.setattr(gradient_derivative, "_STEPS", (0.3,))
    with pytest.raises(ValueError, match="second derivative"):
        check_second_derivative(problem_of(KINKS["relu"]))
    monkeypatch.setattr(gradient_derivative, "_STEPS", (0.3, 1e-7))
    check_second_derivative(problem_of(KINKS["relu"]))


class Weighted(nn.Module):
    """A focal loss whose weights are constant to torch."""

    reduction = "none"

    def forward(self, logits, y):
        losses = F.cross_entropy(logits, y, reduction="none")
        return (1 - torch.exp(-losses.detach())) ** 2 * losses


def test_a_criterion_with_a_stop_gradient_is_named():
    problem = problem_of(KINKS["relu"], row_loss=GenericRows(Weighted()))
    with pytest.raises(ValueError, match="module Net with criterion Weighted"):
        check_second_derivative(problem)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [HIF(), HIF("fast"), InfluenceFunction(), Unrolled(), IntegratedUnrolled(), FixedPoint()],
    ids=repr,
)
def test_methods_of_second_derivatives_refuse_it(method):
    with pytest.raises(ValueError, match="has a wrong second derivative of module"):
        method.check_model(problem_of(STOPS["detach"], rho=0.1), SGD)
    hinge = problem_of(KINKS["relu"], row_loss=GenericRows(nn.MultiMarginLoss()))
    with pytest.raises(ValueError, match="criterion MultiMarginLoss has no second derivative"):
        method.check_model(hinge, SGD)


@pytest.mark.parametrize("method", [GIF(), HIF(curvature="ggn"), LeaveOneOut()], ids=repr)
def test_other_methods_take_it(method):
    method.check_model(problem_of(STOPS["detach"], rho=0.1), SGD)


def test_the_closed_form_of_a_head_takes_it():
    problem = problem_of(STOPS["detach"])
    head = Head(problem.module, problem.layout)
    HIF().check_model(replace(problem, head=head, selected=head.index), SGD)
