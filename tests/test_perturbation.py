import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.base import clone

from sam_attribution.perturbation import PNorm, as_perturbation
from tests.cases import PERTURBATIONS


def draw(seed, n=5):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, generator=generator, dtype=torch.float64) for _ in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("name", PERTURBATIONS)
@given(seed=st.integers(0, 1000))
def test_products_equal_autodiff(name, seed):
    perturbation = PERTURBATIONS[name]
    w, g, dw, dg = draw(seed)
    D = torch.func.jacrev(lambda g: perturbation.eps(w, g, 0.3))(g)
    E = torch.func.jacrev(lambda w: perturbation.eps(w, g, 0.3))(w)
    torch.testing.assert_close(perturbation.jvp(w, g, 0.3, dw, dg), E @ dw + D @ dg)
    back_w, back_g = perturbation.vjp(w, g, 0.3, dw)
    torch.testing.assert_close(back_w, E.T @ dw)
    torch.testing.assert_close(back_g, D.T @ dw)


@pytest.mark.slow
@pytest.mark.parametrize("p", [1.5, 2, 3, math.inf])
@given(seed=st.integers(0, 1000))
def test_eps_is_the_steepest_point_of_the_ball(p, seed):
    _, g, other, _ = draw(seed)
    eps = PNorm(p).eps(None, g, 0.3)
    assert torch.linalg.vector_norm(eps, p) == pytest.approx(0.3)
    q = 1 / (1 - 1 / p)
    assert eps @ g == pytest.approx(0.3 * float(torch.linalg.vector_norm(g, q)))  # Hoelder's bound
    rival = 0.3 * other / torch.linalg.vector_norm(other, p)
    assert rival @ g <= eps @ g + 1e-12


def test_adaptive_maximises_over_the_scaled_ball():
    w, g, *_ = draw(0)
    scale = (w.abs() + 0.01).numpy()
    best = minimize(
        lambda e: -e @ g.numpy(),
        np.zeros(5),
        constraints={"type": "ineq", "fun": lambda e: 0.3**2 - ((e / scale) ** 2).sum()},
    )
    eps = as_perturbation("adaptive").eps(w, g, 0.3)
    np.testing.assert_allclose(eps, best.x, atol=1e-4)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_zero_gradient_and_zero_rho_stand_still(name):
    perturbation = PERTURBATIONS[name]
    w, g, u, _ = draw(1)
    zero = torch.zeros_like(g)
    assert torch.equal(perturbation.eps(w, zero, 0.3), zero)
    assert torch.equal(perturbation.eps(w, g, 0.0), zero)
    for vector in (*perturbation.vjp(w, g, 0.0, u), perturbation.jvp(w, g, 0.0, u, u)):
        assert torch.equal(vector, zero)


@pytest.mark.parametrize("p", [3, 10])
def test_exact_zeros_in_the_gradient_have_zero_derivative_above_p_2(p):
    w, g, _, _ = draw(2)
    g[1] = 0.0
    u = torch.ones_like(g)
    product = PNorm(p).jvp(w, g, 0.3, u, u)
    kept = [0, 2, 3, 4]
    alone = PNorm(p).jvp(w[kept], g[kept], 0.3, u[kept], u[kept])
    assert product[1] == 0
    torch.testing.assert_close(product[kept], alone)


@pytest.mark.parametrize("name", ["p=1.5", "p=2", "p=3", "adaptive"])
def test_tiny_float32_gradients_keep_their_direction(name):
    w, g, *_ = (v.float() for v in draw(3))
    perturbation = PERTURBATIONS[name]
    torch.testing.assert_close(perturbation.eps(w, 1e-30 * g, 0.3), perturbation.eps(w, g, 0.3))


@pytest.mark.parametrize("spec", ["l3", PNorm, object(), None])
def test_unknown_perturbations_are_refused(spec):
    with pytest.raises(ValueError, match="perturbation must be one of"):
        as_perturbation(spec)


@pytest.mark.parametrize("p", [1, 0.5, -2, math.nan])
def test_p_must_be_above_one(p):
    with pytest.raises(ValueError, match="p must be above 1"):
        PNorm(p).eps(None, torch.ones(2), 0.1)


def test_an_object_with_eps_alone_is_completed():
    class Mine:
        def eps(self, w, g, rho):
            return rho * g * w

    w, g, dw, dg = draw(4)
    completed = as_perturbation(Mine())
    torch.testing.assert_close(completed.jvp(w, g, 0.3, dw, dg), 0.3 * (g * dw + w * dg))
    assert clone(PNorm(3)).p == 3
