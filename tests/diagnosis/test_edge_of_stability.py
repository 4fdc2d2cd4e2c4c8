import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sam_attribution.diagnosis import _edge_of_stability, extreme_curvature
from sam_attribution.linalg import Dense, extreme_eigenvalues
from tests.models import fitted_problem


def dense_curvature(problem, decay):
    """Largest eigenvalue of the Hessian at ``w + eps``, written out."""
    d, c = problem.X.shape[1], problem.n_classes

    def loss(w):
        logits = problem.X @ w[: c * d].view(c, d).T + w[c * d :]
        return cross_entropy(logits, problem.y)

    gradient = torch.func.grad(loss)(problem.params)
    moved = problem.params + problem.rho * gradient / gradient.norm()
    hessian = torch.func.hessian(loss)(moved)
    return float(torch.linalg.eigvalsh(hessian).max()) + decay


OPTIMIZERS = {
    "sgd": ({}, 2.0),
    "momentum": ({"optimizer__momentum": 0.9}, 3.8),
    "dampening": ({"optimizer__momentum": 0.9, "optimizer__dampening": 0.5}, 7.6),
    "nesterov": ({"optimizer__momentum": 0.9, "optimizer__nesterov": True}, 3.8 / 2.8),
    "adam": ({"optimizer": torch.optim.Adam}, np.nan),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rho", [0.0, 1.0])
def test_curvature_is_that_of_the_dense_matrix(name, rho):
    options, limit = OPTIMIZERS[name]
    problem = fitted_problem(
        "mlp", module=nn.Linear(6, 3), rho=rho, lr=0.3, optimizer__weight_decay=0.05, **options
    )
    curvature, edge = extreme_curvature(problem, n_products=21)
    assert curvature == pytest.approx(dense_curvature(problem, 0.05), rel=1e-8)
    assert edge == pytest.approx(0.3 * curvature / limit, nan_ok=True)


@pytest.mark.parametrize(("factor", "grows"), [(0.9, False), (1.1, True)])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_the_limit_is_where_descent_on_a_quadratic_diverges(factor, grows, momentum, nesterov):
    limit = 2 * (1 + momentum) / (1 + 2 * momentum * nesterov)
    w = torch.ones(1, requires_grad=True)
    settings = {"momentum": momentum, "nesterov": nesterov}
    optimizer = torch.optim.SGD([w], lr=factor * limit, **settings)
    for _ in range(300):
        w.grad = w.detach().clone()
        optimizer.step()
    assert bool(w.abs() < 1) != grows


def test_without_steps_there_is_no_edge():
    _, edge = extreme_curvature(fitted_problem("mlp", module=nn.Linear(6, 3), lr=0.0, max_epochs=1))
    assert np.isnan(edge)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_curvature_that_overflows_is_infinite(monkeypatch, value):
    overflown = Dense(torch.full((3, 3), value))
    monkeypatch.setattr(_edge_of_stability, "sam_jacobian", lambda *args: overflown)
    problem = fitted_problem("mlp", module=nn.Linear(6, 3), max_epochs=1)
    assert extreme_curvature(problem) == (np.inf, np.inf)
    with pytest.raises(ValueError, match=r"^the spectrum of Dense\(.* is not finite"):
        extreme_eigenvalues(overflown)
