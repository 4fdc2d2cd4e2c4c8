"""What ``diagnostics_["scale"]`` promises: slope 1 for the whole derivative alone."""

import math
from dataclasses import replace

import pytest
import torch

from sam_attribution.methods import EKFAC, HIF, InfluenceFunction
from sam_attribution.perturbation import PNorm
from tests.convex import SoftmaxRegression


@pytest.fixture(scope="module")
def problem():
    convex = SoftmaxRegression.draw(0, 40, 4, 3, 0.1, 0.1, PNorm(2))
    return convex.problem(convex.minimiser())


PROMISED = {
    "full": HIF(damping=0),
    "chosen": HIF(),
}
NOT_PROMISED = {
    "fast": HIF("fast", damping=0),
    "paper": HIF("paper", damping=0),
    "ggn": HIF(damping=0, curvature="ggn"),
    "fisher": HIF(damping=0, curvature="fisher"),
    "as if rho were 0": InfluenceFunction(damping=0),
    "blocks": InfluenceFunction(damping=0, at="w+eps", blocks="layer"),
    "ekfac": EKFAC(),
    "damped": HIF(damping=0.1),
}


def scale(method, problem):
    return method.prepare(problem).diagnostics["scale"]


@pytest.mark.parametrize("name", PROMISED)
def test_the_whole_derivative_promises_slope_1(name, problem):
    assert "slope 1 at a fixed point" in scale(PROMISED[name], problem)


@pytest.mark.parametrize("name", NOT_PROMISED)
def test_an_approximation_does_not(name, problem):
    assert "slope 1" not in scale(NOT_PROMISED[name], problem)
    assert "trust sign and order" in scale(NOT_PROMISED[name], problem)


def test_where_the_variants_are_one_matrix_all_promise_it(problem):
    for same in (replace(problem, rho=0.0), replace(problem, perturbation=PNorm(math.inf))):
        for variant in ("fast", "paper", "full"):
            assert "slope 1 at a fixed point" in scale(HIF(variant, damping=0), same)
    plain = replace(problem, rho=0.0)
    assert "slope 1 at a fixed point" in scale(InfluenceFunction(damping=0), plain)
    part = replace(plain, selected=torch.arange(3))
    assert "the other parameters do not move" in scale(HIF(damping=0), part)
