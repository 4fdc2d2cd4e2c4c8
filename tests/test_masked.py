"""A perturbation of some layers, against plain torch in which the gradient is masked by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from sam_attribution import SAMClassifier
from sam_attribution.methods import GIF, HIF, Unrolled
from sam_attribution.parameters import ParameterLayout, matching
from sam_attribution.perturbation import Adaptive, Masked, PNorm, as_perturbation, is_constant
from sam_attribution.probes import training_scores
from sam_attribution.problem import problem_from_estimator
from tests.methods.test_hif import queries_of
from tests.models import fitted, given_gradients, tabular
from tests.retrained import Run

RHO = 0.3
PATTERNS = ["!*Norm*", "!*.bias"]
SETTINGS = {"rho": RHO, "optimizer__weight_decay": 0.01}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3, bias=False)
    ).double()


# 1 for the weights of the two linear layers, in the order of the flat vector
ONES = {"0.weight": 1.0, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "3.weight": 1.0}
MASK = torch.cat([torch.full((p.numel(),), ONES[n]) for n, p in network().named_parameters()])
MASK = MASK.double()


def by_hand(w, g):
    kept = MASK * g
    return RHO * kept / kept.norm()


def trained(perturbation=None, **settings):
    ball = Masked(PATTERNS, perturbation=PNorm(2)) if perturbation is None else perturbation
    net, X, y, _ = fitted("mlp", module=network(), perturbation=ball, **SETTINGS | settings)
    return net, X, y, problem_from_estimator(net, X, y)


def test_patterns_choose_and_leave_out():
    names = ("body.0.weight", "body.bn.weight", "head.bias")
    assert matching(names, ["*bias"]) == ["head.bias"]
    assert matching(names, ["!*bias"]) == ["body.0.weight", "body.bn.weight"]
    assert matching(names, ["!*bn*", "body.*"]) == ["body.0.weight"]
    aliases = {"body.bn.weight": "BatchNorm1d.weight"}
    assert matching(names, ["!*Norm*", "*"], aliases) == ["body.0.weight", "head.bias"]


@pytest.mark.parametrize(
    "ball", [PNorm(1.5), PNorm(2), PNorm(3), PNorm(math.inf), Adaptive(0.1)], ids=repr
)
def test_eps_and_its_products_are_those_of_the_masked_part(ball):
    masked = Masked(PATTERNS, perturbation=ball).for_layout(ParameterLayout(network()))
    w, g, dw, dg = torch.randn(4, len(MASK), dtype=torch.float64)
    inside = MASK.nonzero()[:, 0]

    def eps(w, g):
        return torch.zeros_like(w).index_copy(0, inside, ball.eps(w[inside], g[inside], RHO))

    torch.testing.assert_close(masked.eps(w, g, RHO), eps(w, g))
    assert (masked.eps(w, g, RHO)[MASK == 0] == 0).all()
    E, D = (torch.func.jacrev(eps, at)(w, g) for at in (0, 1))
    torch.testing.assert_close(masked.jvp(w, g, RHO, dw, dg), E @ dw + D @ dg)
    by_w, by_g = masked.vjp(w, g, RHO, dw)
    torch.testing.assert_close((by_w, by_g), (E.T @ dw, D.T @ dw))
    many = torch.vmap(lambda g: masked.eps(w, g, RHO))(torch.stack([g, dg]))
    torch.testing.assert_close(many, torch.stack([eps(w, g), eps(w, dg)]))


def test_an_object_with_eps_alone_can_be_masked_and_left_bare():
    class Mine:
        def eps(self, w, g, rho):
            return rho * (w + g)  # not 0 where the gradient is

    layout = ParameterLayout(network())
    w, g, dw, dg = torch.randn(4, layout.size, dtype=torch.float64)
    masked = as_perturbation(Masked(PATTERNS, perturbation=Mine()), layout)
    torch.testing.assert_close(masked.eps(w, g, 0.1), 0.1 * MASK * (w + g))
    torch.testing.assert_close(masked.jvp(w, g, 0.1, dw, dg), 0.1 * MASK * (dw + dg))
    torch.testing.assert_close(as_perturbation(Mine(), layout).eps(w, g, 0.1), 0.1 * (w + g))


@pytest.mark.slow
def test_training_equals_a_loop_by_hand_and_scores_the_derivative_of_retraining():
    net, X, y, problem = trained(trajectory=2)
    rows, labels = torch.tensor(X), torch.tensor(y)
    settings = {"weight_decay": 0.01}
    run = Run(network(), rows, labels, net.trajectory_, by_hand, torch.optim.SGD, settings)
    end = nn.utils.parameters_to_vector(run.trained(torch.ones(len(y))).parameters())
    torch.testing.assert_close(problem.params, end.detach(), rtol=0, atol=1e-12)
    queries = queries_of(problem)
    asked = queries.X, queries.y
    scores = training_scores(
        problem, Unrolled(check=None).prepare(problem).probes(queries), given_only=True
    )
    for k in (3, 17):
        found, expected = float(scores[k, 0]), -run.derivative(k, *asked)
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_gif_takes_the_rows_gradients_at_the_masked_point():
    *_, y, problem = trained(trajectory="all")
    queries, path = queries_of(problem), problem.path
    final = queries.directions(problem.params, problem.buffers)
    expected = torch.zeros(len(y), final.shape[1], dtype=torch.float64)
    for state, step in zip(path.recorded_states, path.schedule, strict=False):
        rows = torch.as_tensor(step.indices)
        g = given_gradients(problem, state.params, state.buffers)[rows].mean(0)
        at = given_gradients(problem, state.params + by_hand(None, g), state.buffers)
        expected[rows] += step.rates[0] / len(rows) * (at[rows] @ final)
    probes = GIF(n_checkpoints=None).prepare(problem).probes(queries)
    found = training_scores(problem, probes, given_only=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("ball", ["l2", "adaptive"])
def test_hif_is_the_derivative_of_the_fixed_point_equation(ball):
    *_, y, problem = trained(Masked(PATTERNS, perturbation=ball), batch_size=-1)

    def mean_loss(w, s):
        losses = problem.row_loss.per_sample(problem.logits(w, {}, problem.X), problem.y)
        return s @ losses / len(y)

    def sam_gradient(w, s):
        g = torch.func.grad(mean_loss)(w, s)
        t = MASK if ball == "l2" else MASK * (w.abs() + 0.01)
        eps = RHO * t * t * g / (t * g).norm()
        return torch.func.grad(mean_loss)(w + eps, s) + 0.01 * w

    ones = torch.ones(len(y), dtype=torch.float64)
    J, C = (torch.func.jacfwd(sam_gradient, at)(problem.params, ones) for at in (0, 1))
    steps = torch.linalg.solve(J + 0.5 * torch.eye(len(J), dtype=J.dtype), C)
    queries = queries_of(problem)
    found = training_scores(
        problem, HIF(damping=0.5).prepare(problem).probes(queries), given_only=True
    )
    expected = steps.T @ queries.directions(problem.params, problem.buffers)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.slow
def test_it_is_cloned_searched_stored_and_resumed(tmp_path):
    X, y, _ = tabular()
    module, ball = network(), Masked(PATTERNS, perturbation=PNorm(2))
    run = {"max_epochs": 2, "random_state": 0, "dtype": "float64"}
    net = SAMClassifier(module, perturbation=ball, trajectory_dir=tmp_path / "run", **run)
    assert repr(clone(net).perturbation) == (
        "Masked(parameters=['!*Norm*', '!*.bias'], perturbation=PNorm())"
    )
    net.fit(X, y)
    assert ball.get_params(deep=False) == {
        "perturbation": ball.perturbation,
        "parameters": PATTERNS,
    }
    resumed = SAMClassifier.resume(tmp_path / "run", X, y, module=module, perturbation=clone(ball))
    for a, b in zip(net.module_.parameters(), resumed.module_.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="other settings: perturbation differ"):
        SAMClassifier.resume(
            tmp_path / "run",
            X,
            y,
            module=module,
            perturbation=Masked(["!*.bias"], perturbation=PNorm(2)),
        )
    grid = {"perturbation__parameters": [PATTERNS, "all"], "perturbation__perturbation__p": [2, 3]}
    search = GridSearchCV(SAMClassifier(module, perturbation=ball, **run), grid, cv=2).fit(X, y)
    assert len(np.unique(search.cv_results_["mean_fit_time"])) == 4
    assert is_constant(Masked("!*.bias", perturbation="linf"))
    assert not is_constant(ball)


@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        (["*conv*"], ValueError, r"leave nothing of the parameters 0.weight \(Linear.weight\)"),
        (["!*conv*"], ValueError, "leave out nothing of the parameters"),
        (["*", "!*"], ValueError, "leave nothing"),
        ([3], TypeError, "must be patterns of names, got 3"),
    ],
)
def test_patterns_that_do_nothing_are_refused_before_training(patterns, error, message):
    X, y, _ = tabular()
    net = SAMClassifier(network(), perturbation=Masked(patterns), random_state=0)
    with pytest.raises(error, match=message):
        net.fit(X, y)
    assert not net.trajectory_.schedule


def test_without_a_layout_it_says_what_is_missing():
    with pytest.raises(ValueError, match="does not know which of the numbers in w"):
        Masked().eps(torch.ones(3), torch.ones(3), 0.1)
