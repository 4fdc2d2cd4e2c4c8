"""GIF against sums written out over the recorded training."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution.methods import GIF, TracIn
from sam_attribution.methods._rates import RATES, _sgd_rates, effective_rates
from sam_attribution.probes import training_scores
from sam_attribution.problem import Queries, TrainingPath, problem_from_estimator
from tests.models import fitted, given_gradients, group_cnn, row_gradients, row_losses

SCHEDULER = LRScheduler("StepLR", step_size=3, gamma=0.5, step_every="batch")
CYCLE = LRScheduler(OneCycleLR, max_lr=0.01, total_steps=16, step_every="batch")


def mean_query(problem):
    rows = torch.arange(10)
    return Queries(problem, -problem.X[:10], problem.y[:10], problem.row_loss.per_sample, (rows,))


def query_gradient(problem, state):
    leaf = state.params.clone().requires_grad_()
    logits = problem.logits(leaf, state.buffers, -problem.X[:10])
    loss = row_losses(problem, logits, problem.y[:10]).mean()
    return torch.autograd.grad(loss, leaf)[0]


def perturbed(problem, state, rows):
    leaf = state.params.clone().requires_grad_()
    output = problem.logits(leaf, state.buffers, problem.X[rows])
    losses = row_losses(problem, output, problem.y[rows])
    loss = problem.weights[rows] @ losses / problem.weights[rows].sum()
    g = torch.autograd.grad(loss, leaf)[0]
    return state.params + problem.rho * g / g.norm()


def given(problem, gradients):
    return gradients[torch.arange(len(problem.y)), problem.y]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "query", "sample_weight"),  # every pair of two
    [
        ("mlp", "final", True),
        ("mlp", "checkpoint", False),
        ("cnn", "final", False),
        ("cnn", "checkpoint", False),
        ("regression", "final", False),
        ("regression", "checkpoint", True),
    ],
)
def test_every_step_equals_the_sum_over_steps(kind, query, sample_weight):
    settings = {"module": group_cnn()} if kind == "cnn" else {}
    classifier, X, y, weight = fitted(
        kind, sample_weight, trajectory="all", callbacks=[SCHEDULER], **settings
    )
    problem = problem_from_estimator(classifier, X, y, weight)
    *states, last = classifier.replay(X, y, sample_weight=weight)
    expected = torch.zeros(len(y), dtype=torch.float64)
    for state, step in zip(states, classifier.trajectory_.schedule, strict=True):
        rows = torch.as_tensor(step.indices)
        gradients = given_gradients(problem, perturbed(problem, state, rows), state.buffers, rows)
        v = query_gradient(problem, last if query == "final" else state)
        share = problem.weights[rows] / problem.weights[rows].sum()
        expected[rows] += step.rates[0] * share * (gradients @ v)
    probes = GIF(query=query, n_checkpoints=None).prepare(problem).probes(mean_query(problem))
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [4, 2])
def test_checkpoints_are_the_middles_of_equal_stretches(recorded):
    classifier, X, y, _ = fitted("mlp", max_epochs=4, trajectory=recorded, callbacks=[SCHEDULER])
    rates = [step.rates[0] for step in classifier.trajectory_.schedule]
    problem = problem_from_estimator(classifier, X, y)
    states = list(classifier.replay(X, y))
    edges = [0, 5, 10, 15, 20]
    expected = torch.zeros(len(y), dtype=torch.float64)
    for first, stop in pairwise(edges):
        middle = (first + stop) // 2
        rows = torch.as_tensor(classifier.trajectory_.schedule[middle].indices)
        point = perturbed(problem, states[middle], rows)
        gradients = row_gradients(problem, point, states[middle].buffers)
        v = query_gradient(problem, states[-1])
        expected += sum(rates[first:stop]) / len(y) * (given(problem, gradients) @ v)
    probes = GIF(n_checkpoints=4).prepare(problem).probes(mean_query(problem))
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
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
    path = problem_from_estimator(classifier, X, y).path
    found = effective_rates(path).table[:, 0]
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
    problem = problem_from_estimator(classifier, X, y)
    plain, effective = (
        training_scores(
            problem, GIF(rates=r).prepare(problem).probes(mean_query(problem)), given_only=True
        )[:, 0]
        for r in ("plain", "effective")
    )
    assert effective.abs().sum() > 2 * plain.abs().sum()
    assert np.corrcoef(plain, effective)[0, 1] > 0.95


def test_a_skipped_step_is_as_if_it_had_not_been():
    """torch's own optimizer, called for the steps that were taken only."""
    taken = np.array([False, True, True, False, True, True])
    settings = {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.3, "nesterov": False}
    found = _sgd_rates(np.full(6, 0.1), [settings] * 6, taken)
    for t in range(6):
        w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1, **settings)
        for step in np.flatnonzero(taken):
            w.grad = torch.full_like(w, float(step == t))
            optimizer.step()
        assert found[t] == pytest.approx(-w.item(), rel=1e-10)


def test_effective_rates_know_momentum_and_decay_that_change():
    """torch's own optimizer, its settings changed between the steps."""
    changes = [
        {"momentum": m, "weight_decay": d, "dampening": 0.2, "nesterov": False}
        for m, d in ((0, 0.3), (0.9, 0), (0.5, 0.2), (0, 0.4), (0.8, 0), (0.95, 0.1))
    ]
    found = _sgd_rates(np.full(6, 0.1), changes, np.ones(6, dtype=bool))
    for t in range(6):
        w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1)
        for step, settings in enumerate(changes):
            optimizer.param_groups[0].update(settings)
            w.grad = torch.full_like(w, float(step == t))
            optimizer.step()
        assert found[t] == pytest.approx(-w.item(), rel=1e-10)


@pytest.mark.parametrize("rates", ["plain", "effective"])
def test_clipping_multiplies_by_the_recorded_factor(rates):
    clip = GradientNormClipping(0.3)
    classifier, X, y, _ = fitted("mlp", trajectory="all", callbacks=[clip], max_epochs=2)
    problem = problem_from_estimator(classifier, X, y)
    states, schedule = classifier.trajectory_.states, classifier.trajectory_.schedule
    factors = []
    for state, step in zip(states, schedule, strict=False):
        rows = torch.as_tensor(step.indices)
        moved = problem.ascend(state.params, {}, rows, step.rho)
        norm = problem.mean_gradient(moved, {}, rows).norm()
        factors.append(float(torch.clamp(0.3 / (norm + 1e-6), max=1)))
    assert min(factors) < 0.7
    np.testing.assert_allclose([step.gradient_factor for step in schedule], factors, rtol=1e-10)
    found = RATES[rates](problem.path).table[:, 0]
    np.testing.assert_allclose(found, 0.1 * np.array(factors), rtol=1e-10)  # no momentum


def test_a_gradient_lost_to_an_overflow_is_no_change():
    classifier, X, y, _ = fitted("mlp", max_epochs=1)
    schedule = classifier.trajectory_.schedule
    schedule[2] = replace(schedule[2], skipped=True, gradient_factor=float("nan"))
    path = problem_from_estimator(classifier, X, y).path
    np.testing.assert_array_equal(path.gradient_factors, [1, 1, 0, 1, 1])


def test_other_changes_of_a_gradient_are_refused():
    class ByValue(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            for _, parameter in named_parameters:
                parameter.grad.clamp_(-0.01, 0.01)

    classifier, X, y, _ = fitted("mlp", callbacks=[ByValue()], max_epochs=1)
    with pytest.raises(ValueError, match="gradient of step 0 otherwise than by a factor"):
        GIF().prepare(problem_from_estimator(classifier, X, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameter_groups_have_rates_of_their_own(dtype):
    groups = [("*weight", {"lr": 0.05}), ("*bias", {"lr": 0.2})]
    classifier, X, y, _ = fitted("mlp", optimizer__param_groups=groups, dtype=dtype)
    problem = problem_from_estimator(classifier, X, y)
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
        problem = problem_from_estimator(classifier, X, y)
        method = GIF(query="checkpoint") if rho else TracIn()  # perturbed points, plain points
        probes = method.prepare(problem).probes(mean_query(problem))
        scores.append(training_scores(problem, probes, given_only=True)[:, 0])
    assert (scores[0] - scores[1]).norm() > 1e-3 * scores[0].norm()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"query": "last"}, "The 'query' parameter of GIF"),
        ({"rates": "true"}, "The 'rates' parameter of GIF"),
        ({"n_checkpoints": 0}, "The 'n_checkpoints' parameter of GIF"),
    ],
)
def test_bad_settings_are_named(settings, message):
    classifier, X, y, _ = fitted("mlp", max_epochs=1)
    with pytest.raises(ValueError, match=message):
        GIF(**settings).prepare(problem_from_estimator(classifier, X, y))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": torch.optim.Adam},
        {"optimizer": torch.optim.Adam, "optimizer__weight_decay": 0.3},
        {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.3},
        {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True, "optimizer__betas": (0.7, 0.9)},
        {"optimizer": torch.optim.Adam, "callbacks": [CYCLE]},
    ],
    ids=["adam", "adam with decay", "adamw", "amsgrad", "cycled"],
)
@pytest.mark.parametrize("recorded", ["all", 3])
def test_effective_rates_of_adam_with_the_second_moments_as_recorded(settings, recorded):
    """A unit gradient of one step, sent forward through Adam's own recursion to the end."""
    settings = {"lr": 0.01, "trajectory": recorded, "callbacks": [SCHEDULER]} | settings
    cycled = settings["callbacks"] == [CYCLE]
    classifier, X, y, _ = fitted("mlp", **settings)
    path = problem_from_estimator(classifier, X, y).path
    group = path.group_settings[0]
    betas = [step.settings[0]["betas"] for step in path.schedule]
    assert len(set(betas)) == (15 if cycled else 1)
    decay = group["weight_decay"]
    apart = path.optimizer is torch.optim.AdamW
    key = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    roots = []
    for (_, beta2), state in zip(betas, list(classifier.replay(X, y))[1:], strict=True):
        entries = state.optimizer["state"].values()
        v = torch.cat([entry[key].flatten() for entry in entries])
        roots.append((v / (1 - beta2**state.step)).sqrt() + group["eps"])
    rates = {state.step: rate for state, rate in effective_rates(path).along()}
    assert sorted(rates) == list(range(15))
    for t in (0, 4, 13, 14):
        w = torch.zeros_like(roots[0])
        m = torch.zeros_like(w)
        for step, root in enumerate(roots):
            gradient = float(step == t) + (0 if apart else decay * w)
            eta = path.learning_rates[step, 0]
            beta1 = betas[step][0]
            m = beta1 * m + (1 - beta1) * gradient
            w = w * (1 - eta * decay * apart) - eta * m / (1 - beta1 ** (step + 1)) / root
        torch.testing.assert_close(rates[t], -w, rtol=1e-10, atol=0)


def test_effective_rates_of_adam_know_clipping_and_skipped_steps(monkeypatch):
    """As above, the step left out and the gradients multiplied."""
    classifier, X, y, _ = fitted(
        "mlp", lr=0.01, optimizer=torch.optim.Adam, max_epochs=1, trajectory="all"
    )
    recorded = classifier.trajectory_
    taken, factors = np.arange(5) != 1, np.array([0.5, 0.0, 0.25, 1.0, 1.0])
    monkeypatch.setattr(TrainingPath, "taken", taken)
    monkeypatch.setattr(TrainingPath, "gradient_factors", factors)
    path = problem_from_estimator(classifier, X, y).path
    roots = {}
    for t in (0, 2, 3, 4):
        entries = recorded.states[t + 1].optimizer["state"].values()
        v = torch.cat([entry["exp_avg_sq"].flatten() for entry in entries])
        roots[t] = 1 - 0.9 ** (t + 1), (v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8
    rates = {state.step: rate for state, rate in effective_rates(path).along()}
    assert not np.any(rates[1])
    for t, factor in ((0, 0.5), (2, 0.25), (3, 1.0)):
        m, w = torch.zeros_like(v), torch.zeros_like(v)
        for step, (correction, root) in roots.items():
            m = 0.9 * m + 0.1 * factor * float(step == t)
            w = w - 0.01 * m / correction / root
        torch.testing.assert_close(rates[t], -w, rtol=1e-10, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("n_checkpoints", [4, None])
def test_effective_adam_scores_are_sums_over_its_rates(n_checkpoints):
    classifier, X, y, _ = fitted("mlp", lr=0.01, optimizer=torch.optim.Adam, max_epochs=4)
    problem = problem_from_estimator(classifier, X, y)
    states = list(classifier.replay(X, y))
    rates = {state.step: rate for state, rate in effective_rates(problem.path).along()}
    v = query_gradient(problem, states[-1])
    expected = torch.zeros(len(y), dtype=torch.float64)
    for first, stop in pairwise([0, 5, 10, 15, 20] if n_checkpoints else range(21)):
        middle = (first + stop) // 2
        rows = torch.as_tensor(classifier.trajectory_.schedule[middle].indices)
        gradients = row_gradients(
            problem, perturbed(problem, states[middle], rows), states[middle].buffers
        )
        scores = given(problem, gradients) @ (sum(rates[t] for t in range(first, stop)) * v)
        counted = torch.arange(len(y)) if n_checkpoints else rows
        expected[counted] += scores[counted] / len(counted)
    method = GIF(n_checkpoints=n_checkpoints, rates="effective")
    probes = method.prepare(problem).probes(mean_query(problem))
    found = training_scores(problem, probes, given_only=True)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_effective_rates_refuse_other_optimizers():
    classifier, X, y, _ = fitted("mlp", max_epochs=1, optimizer=torch.optim.RMSprop, lr=0.01)
    with pytest.raises(ValueError, match="not for RMSprop"):
        GIF(rates="effective").prepare(problem_from_estimator(classifier, X, y))


def test_without_states_it_says_how_to_record_them():
    classifier, X, y, _ = fitted("mlp", max_epochs=1, trajectory=None)
    problem = problem_from_estimator(classifier, X, y)
    with pytest.raises(ValueError, match='trajectory="auto"'):
        GIF().prepare(problem).probes(mean_query(problem))


def test_other_rows_are_refused():
    classifier, X, y, _ = fitted("mlp", max_epochs=1)
    with pytest.raises(ValueError, match="other data"):
        problem_from_estimator(classifier, X + 1e-3, y)


def test_a_batch_of_weight_zero_counts_for_nothing():
    weight = np.repeat([1.0, 0.0, 1.0], [16, 8, 16])
    classifier, X, y, _ = fitted("mlp", max_epochs=1, iterator_train__shuffle=False)
    classifier.fit(X, y, sample_weight=weight)
    problem = problem_from_estimator(classifier, X, y, weight)
    for n_checkpoints in (3, None):
        probes = GIF(n_checkpoints=n_checkpoints).prepare(problem).probes(mean_query(problem))
        scores = training_scores(problem, probes, given_only=True)[:, 0]
        assert torch.isfinite(scores).all()
        assert (scores[16:24] == 0).all()
        assert (scores[:16] != 0).all()


def test_rows_that_no_step_saw_count_nowhere():
    classifier, X, y, _ = fitted("mlp", train_split=ValidSplit(4))
    problem = problem_from_estimator(classifier, X, y)
    seen = np.zeros(len(y), dtype=bool)
    for step in classifier.trajectory_.schedule:
        seen[step.indices] = True
    assert seen.sum() == problem.total_weight == 30
    probes = GIF().prepare(problem).probes(mean_query(problem))
    scores = training_scores(problem, probes, given_only=True)[:, 0].numpy()
    assert (scores[~seen] == 0).all()
    leaf = problem.params.clone().requires_grad_()
    logits = problem.logits(leaf, {}, problem.X[seen])
    loss = torch.nn.functional.cross_entropy(logits, problem.y[seen])
    torch.testing.assert_close(
        problem.mean_gradient(problem.params, {}), torch.autograd.grad(loss, leaf)[0]
    )


def test_the_recorded_perturbation_counts_not_the_current_one():
    classifier, X, y, _ = fitted("mlp", rho=0.3)
    before = problem_from_estimator(classifier, X, y)
    classifier.set_params(rho=0.0, perturbation="linf")
    after = problem_from_estimator(classifier, X, y)
    scores = [
        training_scores(p, GIF().prepare(p).probes(mean_query(p)), given_only=True)
        for p in (before, after)
    ]
    assert torch.equal(*scores)
    assert after.rho == 0.3


def test_early_stopping_uses_the_recorded_stretches_and_refuses_restored_weights():
    stop = EarlyStopping("train_loss", patience=1, threshold=10.0, threshold_mode="abs")
    classifier, X, y, _ = fitted("mlp", max_epochs=8, trajectory=10, callbacks=[stop])
    trajectory = classifier.trajectory_
    assert 0 < trajectory.n_steps < 40
    problem = problem_from_estimator(classifier, X, y)
    probes = GIF().prepare(problem).probes(mean_query(problem))
    assert len(probes) == len(trajectory.stretches) < 10
    assert sum(probe.rate for probe in probes) == pytest.approx(0.1 * trajectory.n_steps)
    with torch.no_grad():
        classifier.module_.get_parameter(problem.layout.names[0]).add_(1.0)
    moved = problem_from_estimator(classifier, X, y)
    with pytest.raises(ValueError, match="not those at the end of the recorded training"):
        GIF().prepare(moved)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer__maximize": True, "lr": 1e-4}, "maximize"),
        ({"max_epochs": 0}, "no training step"),
    ],
)
def test_trainings_without_a_score_are_refused_by_name(settings, message):
    classifier, X, y, _ = fitted("mlp", **settings)
    with pytest.raises(ValueError, match=message):
        problem_from_estimator(classifier, X, y)
