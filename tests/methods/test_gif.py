"""GIF against sums written out over the recorded training."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sam_attribution.methods import GIF
from sam_attribution.methods._rates import effective_rates
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries, problem_from_classifier
from tests.models import fitted, row_gradients


def mean_query(problem):
    rows = torch.arange(10)
    return Queries(problem, -problem.X[:10], problem.y[:10], problem.row_loss.per_sample, (rows,))


def query_gradient(problem, state):
    leaf = state.params.clone().requires_grad_()
    logits = problem.logits(leaf, state.buffers, -problem.X[:10])
    loss = torch.nn.functional.cross_entropy(logits, problem.y[:10])
    return torch.autograd.grad(loss, leaf)[0]


def perturbed(problem, state, rows):
    leaf = state.params.clone().requires_grad_()
    losses = torch.nn.functional.cross_entropy(
        problem.logits(leaf, state.buffers, problem.X[rows]), problem.y[rows], reduction="none"
    )
    loss = problem.weights[rows] @ losses / problem.weights[rows].sum()
    g = torch.autograd.grad(loss, leaf)[0]
    return state.params + problem.rho * g / g.norm()


def given(problem, gradients):
    return gradients[torch.arange(len(problem.y)), problem.y]


@pytest.mark.parametrize("query", ["final", "checkpoint"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("sample_weight", [False, True])
def test_every_step_equals_the_sum_over_steps(kind, query, sample_weight):
    classifier, X, y, weight = fitted(kind, sample_weight, trajectory="all")
    problem = problem_from_classifier(classifier, X, y, weight)
    *states, last = classifier.replay(X, y, sample_weight=weight)
    expected = torch.zeros(len(y), dtype=torch.float64)
    for state, step in zip(states, classifier.trajectory_.schedule, strict=True):
        rows = torch.as_tensor(step.indices)
        gradients = row_gradients(problem, perturbed(problem, state, rows), state.buffers)
        v = query_gradient(problem, last if query == "final" else state)
        share = problem.weights[rows] / problem.weights[rows].sum()
        expected[rows] += 0.1 * share * (given(problem, gradients)[rows] @ v)
    probes = GIF(query=query, n_checkpoints=None).prepare(problem).probes(mean_query(problem))
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("recorded", [4, 2])
def test_checkpoints_are_the_middles_of_equal_stretches(recorded):
    classifier, X, y, _ = fitted("mlp", max_epochs=4, trajectory=recorded)
    problem = problem_from_classifier(classifier, X, y)
    states = list(classifier.replay(X, y))
    edges = [0, 5, 10, 15, 20]
    expected = torch.zeros(len(y), dtype=torch.float64)
    for first, stop in pairwise(edges):
        middle = (first + stop) // 2
        rows = torch.as_tensor(classifier.trajectory_.schedule[middle].indices)
        point = perturbed(problem, states[middle], rows)
        gradients = row_gradients(problem, point, states[middle].buffers)
        v = query_gradient(problem, states[-1])
        expected += (stop - first) * 0.1 / len(y) * (given(problem, gradients) @ v)
    probes = GIF(n_checkpoints=4).prepare(problem).probes(mean_query(problem))
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.4)])
def test_effective_rates_equal_what_one_gradient_does_to_the_end(
    momentum, dampening, weight_decay, nesterov
):
    if nesterov and (momentum == 0 or dampening):
        return
    options = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    classifier, X, y, _ = fitted(
        "mlp",
        optimizer__weight_decay=weight_decay,
        **{f"optimizer__{name}": value for name, value in options.items()},
    )
    path = problem_from_classifier(classifier, X, y).path
    found = effective_rates(path)[:, 0]
    # torch's own optimizer, fed with zeros but for a unit gradient at step t
    for t in range(path.n_steps):
        w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=weight_decay, **options)
        for step in range(path.n_steps):
            w.grad = torch.full_like(w, float(step == t))
            optimizer.step()
        assert found[t] == pytest.approx(-w.item(), rel=1e-10)


def test_plain_and_effective_rates_differ_by_momentum():
    classifier, X, y, _ = fitted("mlp", optimizer__momentum=0.9)
    problem = problem_from_classifier(classifier, X, y)
    plain, effective = (
        training_scores(
            problem, GIF(rates=r).prepare(problem).probes(mean_query(problem)), given_only=True
        )[:, 0]
        for r in ("plain", "effective")
    )
    assert effective.abs().sum() > 2 * plain.abs().sum()
    assert np.corrcoef(plain, effective)[0, 1] > 0.95


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameter_groups_have_rates_of_their_own(dtype):
    groups = [("*weight", {"lr": 0.05}), ("*bias", {"lr": 0.2})]
    classifier, X, y, _ = fitted("mlp", optimizer__param_groups=groups, dtype=dtype)
    problem = problem_from_classifier(classifier, X, y)
    rate = problem.path.spread(np.array(classifier.trajectory_.schedule[0].rates))
    by_name = problem.layout.unflatten(rate)
    for name, values in by_name.items():
        expected = 0.05 if name.endswith("weight") else 0.2
        torch.testing.assert_close(values, torch.full_like(values, expected))
    (probe,) = GIF(n_checkpoints=1).prepare(problem).probes(mean_query(problem))
    v = mean_query(problem).directions(problem.params, problem.buffers)
    torch.testing.assert_close(probe.directions, 15 * rate[:, None] * v)
    assert training_scores(problem, [probe]).dtype == problem.params.dtype


def test_rho_enters():
    scores = []
    for rho in (0.0, 0.1):
        classifier, X, y, _ = fitted("mlp")
        problem = problem_from_classifier(classifier, X, y)
        object.__setattr__(problem, "rho", rho)  # same training, plain or perturbed points
        probes = GIF().prepare(problem).probes(mean_query(problem))
        scores.append(training_scores(problem, probes, given_only=True)[:, 0])
    assert (scores[0] - scores[1]).norm() > 1e-3 * scores[0].norm()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query": "last"}, "query must be one of"),
        ({"rates": "true"}, "rates must be one of"),
        ({"n_checkpoints": 0}, "n_checkpoints must be at least 1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    classifier, X, y, _ = fitted("mlp", max_epochs=1)
    with pytest.raises(ValueError, match=message):
        GIF(**settings).prepare(problem_from_classifier(classifier, X, y))


def test_effective_rates_refuse_other_optimizers():
    classifier, X, y, _ = fitted("mlp", max_epochs=1, optimizer=torch.optim.Adam, lr=0.01)
    with pytest.raises(ValueError, match="not for Adam"):
        GIF(rates="effective").prepare(problem_from_classifier(classifier, X, y))


def test_without_states_it_says_how_to_record_them():
    classifier, X, y, _ = fitted("mlp", max_epochs=1, trajectory=None)
    problem = problem_from_classifier(classifier, X, y)
    with pytest.raises(ValueError, match="trajectory=10"):
        GIF().prepare(problem).probes(mean_query(problem))


def test_other_rows_are_refused():
    classifier, X, y, _ = fitted("mlp", max_epochs=1)
    with pytest.raises(ValueError, match="other data"):
        problem_from_classifier(classifier, X + 1e-3, y)
