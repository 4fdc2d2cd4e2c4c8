"""GIF follows the run: gradients in training mode, with the masks that were drawn then."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF, SelfInfluence, TracIn
from sam_attribution.methods._rates import plain_rates
from sam_attribution.probes import row_scores, training_scores
from sam_attribution.problem import Queries, problem_from_estimator
from sam_attribution.training import SAMClassifier, derived_seed
from tests.models import Cubed, tabular

X, y, weight = tabular(24)
MODULES = {
    "dropout": lambda: (nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)),
    "batch norm": lambda: (nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)),
}


def fitted(name, **settings):
    torch.manual_seed(0)
    module = nn.Sequential(*MODULES[name]())
    defaults = {"max_epochs": 2, "batch_size": 9, "random_state": 0, "dtype": "float64"}
    net = SAMClassifier(module, **defaults | {"rho": 0.2, "trajectory": "all"} | settings)
    net.fit(X, y, sample_weight=weight)
    problem = problem_from_estimator(net, X, y, weight)
    rows = (torch.arange(10),)
    asked = -problem.X[:10], problem.y[:10]
    return net, problem, Queries(problem, *asked, problem.row_loss.per_sample, rows)


def row_gradients(module, inputs, labels, seed):
    """Gradients of every row's loss in training mode, the batch going through as a whole."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        losses = cross_entropy(module(inputs), labels, reduction="none")
    parameters = list(module.parameters())
    found = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    return torch.stack([nn.utils.parameters_to_vector(each) for each in found])


def test_steps_of_a_function_without_second_derivative_are_refused(monkeypatch):
    layers = (nn.Linear(6, 8), nn.Tanh(), Cubed(), nn.Dropout(0.5), nn.Linear(8, 3))
    monkeypatch.setitem(MODULES, "once", lambda: layers)
    _, problem, queries = fitted("once")
    with pytest.raises(ValueError, match=r"in training.*once_differentiable"):
        training_scores(problem, GIF(n_checkpoints=None).prepare(problem).probes(queries))


def by_hand(net, problem, queries):
    """Theorem 4.6 step by step, on a module of plain torch; the part of each group's gradient."""
    module, a = copy.deepcopy(net.module_).train(), torch.as_tensor(weight)
    v = queries.directions(problem.params, problem.buffers)[:, 0]
    scores, gone = torch.zeros(len(y), dtype=torch.float64), torch.zeros_like(problem.params)
    for state, step in zip(net.trajectory_.states, net.trajectory_.schedule, strict=False):
        rows, seed = torch.as_tensor(step.indices), derived_seed(net.trajectory_.seed, state.step)
        batch, share = (problem.X[rows], problem.y[rows], seed), a[rows] / a[rows].sum()
        nn.utils.vector_to_parameters(state.params.clone(), module.parameters())
        g = share @ row_gradients(module, *batch)
        nn.utils.vector_to_parameters(state.params + 0.2 * g / g.norm(), module.parameters())
        gradients = share[:, None] * row_gradients(module, *batch)
        scores[rows] += step.rates[0] * gradients @ v
        gone += step.rates[0] * gradients[rows < 5].sum(0)
    return scores, gone


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_step_is_that_of_the_run(name):
    net, problem, queries = fitted(name)
    prepared = GIF(n_checkpoints=None).prepare(problem)
    expected, gone = by_hand(net, problem, queries)
    scores = training_scores(problem, prepared.probes(queries), given_only=True)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-12)
    removed = prepared.removal_step([torch.arange(5)]).params[0]
    torch.testing.assert_close(removed, gone, rtol=1e-9, atol=1e-12)
    part = problem_from_estimator(net, X, y, weight, parameters="head")
    of_head = GIF(n_checkpoints=None).prepare(part).removal_step([torch.arange(5)]).params[0]
    expected = part.restrict(gone[:, None])[:, 0]
    torch.testing.assert_close(of_head, expected, rtol=1e-9, atol=1e-12)
    assert "with the recorded masks" in prepared.diagnostics["mode"]
    evaluated = row_scores(problem, prepared.probes(queries), problem.X[:3])
    assert evaluated.shape == (3, 3, 1)
    assert torch.isfinite(evaluated).all()


@pytest.mark.parametrize("method", [GIF(), TracIn(at="w+eps"), SelfInfluence(at="w+eps")])
def test_eps_of_a_recorded_state_is_that_of_its_step(method):
    net, problem, queries = fitted("dropout", trajectory=2)
    states = {state.step: state for state in net.trajectory_.states}
    probes = list(method.prepare(problem).probes(queries))
    for probe, stretch in zip(probes, net.trajectory_.stretches, strict=True):
        state, step = states[stretch.middle], net.trajectory_.schedule[stretch.middle]
        rows, a = torch.as_tensor(step.indices), torch.as_tensor(weight)
        module = copy.deepcopy(net.module_).train()
        nn.utils.vector_to_parameters(state.params.clone(), module.parameters())
        seed = derived_seed(net.trajectory_.seed, state.step)
        gradients = row_gradients(module, problem.X[rows], problem.y[rows], seed)
        g = a[rows] @ gradients
        torch.testing.assert_close(probe.point, state.params + 0.2 * g / g.norm())


def test_where_the_modes_are_the_same_nothing_changes():
    problem = fitted("dropout")[1]
    assert problem.training_differs
    torch.manual_seed(0)
    net = SAMClassifier(nn.Linear(6, 3), max_epochs=1, random_state=0).fit(X, y)
    plain = problem_from_estimator(net, X, y)
    assert not plain.training_differs
    assert "are the same" in GIF().prepare(plain).diagnostics["mode"]


class NowAndThen(nn.Linear):
    """Differs in training with a probability of 1e-9, or only for batches with a given row."""

    def __init__(self, row=None):
        super().__init__(6, 3)
        self.row = row

    def forward(self, inputs):
        if not self.training:
            return super().forward(inputs)
        odd = torch.rand(()) < 1e-9 if self.row is None else (inputs == self.row).all(1).any()
        return super().forward(2 * inputs if odd else inputs)


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_a_mode_that_differs_now_and_then_is_found(batch):
    settings = {"max_epochs": 1, "batch_size": 8, "random_state": 0, "dtype": "float64"}
    row = None
    if batch is not None:
        schedule = SAMClassifier(nn.Linear(6, 3), **settings).fit(X, y).trajectory_.schedule
        row = torch.as_tensor(X[schedule[batch].indices[0]])
    net = SAMClassifier(NowAndThen(row), **settings).fit(X, y)
    assert problem_from_estimator(net, X, y).training_differs


def test_eps_is_that_of_the_run_where_the_mode_seemed_the_same():
    net, problem, _ = fitted("dropout")
    state, step = net.trajectory_.states[1], net.trajectory_.schedule[1]
    rows, a = torch.as_tensor(step.indices), torch.as_tensor(weight)
    point = list(problem.path.checkpoints(6, plain_rates(problem.path)))[1]
    vars(problem)["training_differs"] = False
    module = copy.deepcopy(net.module_).train()
    nn.utils.vector_to_parameters(state.params.clone(), module.parameters())
    seed = derived_seed(net.trajectory_.seed, 1)
    g = a[rows] @ row_gradients(module, problem.X[rows], problem.y[rows], seed)
    found = point.row_params(problem, "w+eps")
    torch.testing.assert_close(found, state.params + 0.2 * g / g.norm())


def test_row_gradients_in_another_mode_than_training_are_said():
    model = SAMClassifier(nn.Sequential(*MODULES["dropout"]()), max_epochs=1, random_state=0)
    table = SAMInfluence(model, method=GIF(), random_state=0).fit(X, y).diagnose()
    (line,) = table[table["check"] == "evaluation_mode"].itertuples()
    assert line.status == "doubtful"
    assert "n_checkpoints=None" in line.advice
    model.set_params(module=nn.Linear(6, 3))
    table = SAMInfluence(model, method=GIF(), random_state=0).fit(X, y).diagnose()
    assert "evaluation_mode" not in set(table["check"])
