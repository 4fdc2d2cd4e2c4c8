"""What a method cannot do with a model is said before training, in the words of later."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_attribution.linalg import CG, Direct
from sam_attribution.methods import (
    EKFAC,
    HIF,
    TRAK,
    DataInf,
    GradCos,
    InfluenceFunction,
    RelatIF,
    SelfInfluence,
)
from sam_attribution.problem import GenericRows, Problem, TargetRows

X, y = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3


class Spare(nn.Module):
    """Its second layer takes no part."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, X):
        return self.used(X)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class Doubled(nn.Module):
    def forward(self, X):
        return Once.apply(X)


def problem_of(module=None, **settings):
    torch.manual_seed(0)
    module = module or nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    settings = {"X": X, "y": y, "n_classes": 3, "rho": 0.1, "weight_decay": 0.1} | settings
    return Problem(module=module.eval(), **settings)


def hinge(**settings):
    return problem_of(row_loss=GenericRows(nn.MultiMarginLoss()), **settings)


def regression():
    return problem_of(nn.Linear(4, 1), y=X[:, 0], n_classes=None, row_loss=TargetRows(nn.L1Loss()))


def once():
    return problem_of(nn.Sequential(nn.Linear(4, 3), Doubled()))


REFUSED = {
    "no curvature of the criterion": (HIF(), hinge, "criterion MultiMarginLoss has no second"),
    "the same, plain": (InfluenceFunction(), hinge, "criterion MultiMarginLoss has no second"),
    "the same, layers": (EKFAC(), hinge, "criterion MultiMarginLoss has no second"),
    "the same, relative": (RelatIF(), hinge, "criterion MultiMarginLoss has no second"),
    "no curvature of the module": (HIF(), once, "cannot be differentiated twice"),
    "solver for symmetric ones": (HIF(solver=CG()), problem_of, "CG needs a symmetric operator"),
    "no curvature at all": (TRAK(weighted=True), regression, "criterion L1Loss is linear in"),
    "unused layer": (
        DataInf(),
        lambda: problem_of(Spare()),
        r"no row has .* \['spare.weight', 'sp",
    ),
    "unused, by layers": (
        EKFAC(),
        lambda: problem_of(Spare()),
        r"layers \['spare'\] are not called",
    ),
}


@pytest.mark.filterwarnings("ignore:the SAM Jacobian")
@pytest.mark.parametrize("case", REFUSED)
def test_a_model_is_refused_before_training_as_it_is_after(case):
    method, make, words = REFUSED[case]
    problem = make()
    with pytest.raises(ValueError, match=words):
        method.check_model(problem, None)
    with pytest.raises(ValueError, match=words):
        method.prepare(problem)


@pytest.mark.parametrize(
    "method",
    [HIF(), HIF("fast", solver=CG()), InfluenceFunction(blocks="layer"), EKFAC(), TRAK(), DataInf(),
     GradCos(), SelfInfluence(), RelatIF(EKFAC())],
    ids=repr,
)  # fmt: skip
def test_what_can_be_answered_passes(method):
    problem = problem_of()
    before = problem.params.clone()
    assert method.check_model(problem, None) is None
    assert torch.equal(problem.layout.vector_of(problem.module), before)


def test_datainf_with_a_damping_takes_unused_layers():
    DataInf(damping=0.1).check_model(problem_of(Spare()), None)
    only_used = replace(problem_of(Spare()), selected=torch.arange(15))
    DataInf().check_model(only_used, None)


def test_what_does_not_fit_into_memory_names_another_way(monkeypatch):
    monkeypatch.setattr("sam_attribution.linalg._memory.free_memory", lambda device: 3000.0)
    wide = problem_of(nn.Linear(300, 3), X=torch.randn(12, 300))
    cases = {
        EKFAC(): r"K-FAC factors .*0\.00\d+ GiB, and .* are free\. Use \"gif\", \"trak\"",
        HIF(solver=Direct()): r"dense matrix .* GiB.* GMRES\(\) or Arnoldi\(\)",
    }
    for method, words in cases.items():
        with pytest.raises(ValueError, match=words):
            method.check_model(wide, None)
    with pytest.raises(ValueError, match=r"Phi' Phi would take .*lower proj_dim"):
        TRAK(proj_dim=12).prepare(wide)
    factors = 8 * (3 * 301**2 + 3 * 3**2 + 2 * 301 * 3)
    monkeypatch.setattr("sam_attribution.linalg._memory.free_memory", lambda device: factors - 1.0)
    with pytest.raises(ValueError, match="K-FAC factors"):
        EKFAC().check_model(wide, None)
    monkeypatch.setattr("sam_attribution.linalg._memory.free_memory", lambda device: factors + 1.0)
    EKFAC().check_model(wide, None)
