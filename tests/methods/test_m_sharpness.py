"""Scores of trainings whose batches climb in parts, against sums and derivatives by hand."""

import pytest
import torch
from torch import nn

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.dynamics import Tangent, TrainingState
from sam_attribution.methods import GIF, HIF, TRAK, SelfInfluence, TracIn, Unrolled
from sam_attribution.probes import training_scores
from sam_attribution.problem import FunctionalRun, FunctionalTraining, problem_from_estimator
from sam_attribution.retraining import FixedPoint, LeaveOneOut
from sam_attribution.retraining._further_steps import FurtherBatches, FurtherSteps
from tests.in_parts import RunInParts, parts_of
from tests.methods.test_hif import queries_of
from tests.models import batch_gradients, fitted

M, RHO = 3, 0.3
SMOOTH = {"module": nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()}
DECAY = {"optimizer__weight_decay": 0.01}


def norm_network(dropout=True):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)]
    if dropout:
        layers.insert(3, nn.Dropout(0.3))
    return nn.Sequential(*layers).double()


def trained(sample_weight=False, **settings):
    settings = {"rho": RHO, "m_sharpness": M, "trajectory": "all", **SMOOTH, **settings}
    net, X, y, weight = fitted("mlp", sample_weight, **settings)
    return net, problem_from_estimator(net, X, y, weight)


def scores_of(method, problem, queries=None):
    probes = method.prepare(problem).probes(queries or queries_of(problem))
    return training_scores(problem, probes, given_only=True)


def row_gradients(problem, point, rows):
    """Gradients of rows' losses in evaluation mode, (n_rows, n_params)."""

    def losses(w):
        output = problem.logits(w, problem.buffers, problem.X[rows])
        return nn.functional.cross_entropy(output, problem.y[rows], reduction="none")

    return torch.func.jacrev(losses)(point)


def climbed(problem, params, buffers, rows, *, training=False):
    """Point to which a part of a batch climbs, and the gradients of its rows there."""
    a = problem.weights[rows]

    def gradients(point):
        if training:
            return batch_gradients(problem, point, buffers, rows)
        return row_gradients(problem, point, rows)

    g = a @ gradients(params) / a.sum()
    point = params + RHO * g / g.norm()
    return point, gradients(point)


def every_step(problem, query, *, training=False):
    """GIF over all steps: each row at the point of its own part."""
    queries, path = queries_of(problem), problem.path
    v = queries.directions(problem.params, problem.buffers)
    total = torch.zeros(len(problem.y), v.shape[1], dtype=torch.float64)
    for state, step in zip(path.recorded_states, path.schedule, strict=False):
        batch = torch.as_tensor(step.indices)
        if query == "checkpoint":
            v = queries.directions(state.params, state.buffers)
        for rows in parts_of(batch, M):
            _, gradients = climbed(problem, state.params, state.buffers, rows, training=training)
            share = problem.weights[rows] / problem.weights[batch].sum()
            total[rows] += step.rates[0] * share[:, None] * (gradients @ v)
    return total


@pytest.mark.slow
@pytest.mark.parametrize(("query", "sample_weight"), [("final", True), ("checkpoint", False)])
def test_gif_takes_each_row_at_the_point_of_its_part(query, sample_weight):
    _, problem = trained(sample_weight, max_epochs=2)
    found = scores_of(GIF(query=query, n_checkpoints=None), problem)
    torch.testing.assert_close(found, every_step(problem, query), rtol=1e-9, atol=1e-12)
    if query == "final":
        prepared = GIF(n_checkpoints=None).prepare(problem)
        group = torch.tensor([0, 7, 11])
        v = queries_of(problem).directions(problem.params, problem.buffers)
        step = prepared.removal_step([group]).params[0]
        torch.testing.assert_close(step @ v, found[group].sum(0))
        assert len(prepared.probes(queries_of(problem))) == 10 * 3  # 8 rows in three parts


@pytest.mark.slow
def test_gif_in_training_mode_takes_the_batch_statistics_of_the_part():
    _, problem = trained(module=norm_network(dropout=False))
    found = scores_of(GIF(n_checkpoints=None), problem)
    expected = every_step(problem, "final", training=True)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)


def test_checkpoints_take_the_mean_over_the_parts_of_the_batch_drawn_there():
    net, problem = trained(True)
    path, queries = problem.path, queries_of(problem)
    v = queries.directions(problem.params, problem.buffers)
    gif = torch.zeros(len(problem.y), v.shape[1], dtype=torch.float64)
    own, everyone = torch.zeros_like(gif[:, :1]), torch.arange(len(problem.y))
    for first in (0, 5, 10):
        state = net.trajectory_.states[first + 2]
        batch = torch.as_tensor(path.schedule[first + 2].indices)
        for rows in parts_of(batch, M):
            point, _ = climbed(problem, state.params, state.buffers, rows)
            gradients = row_gradients(problem, point, everyone)
            part = problem.weights[rows].sum() / problem.weights[batch].sum()
            share = 5 * 0.1 * part * problem.weights / problem.weights.sum()
            gif += share[:, None] * (gradients @ v)
            own += -share[:, None] * gradients.square().sum(1, keepdim=True)
    found = scores_of(GIF(n_checkpoints=3), problem)
    torch.testing.assert_close(found, gif, rtol=1e-9, atol=1e-12)
    found = scores_of(SelfInfluence(n_checkpoints=3, at="w+eps"), problem)
    torch.testing.assert_close(found, own, rtol=1e-9, atol=1e-12)


def test_tracin_at_the_states_asks_no_part():
    _, problem = trained()
    assert len(TracIn(n_checkpoints=3).prepare(problem).probes(queries_of(problem))) == 3
    whole = scores_of(TracIn(n_checkpoints=None), problem)
    path, queries = problem.path, queries_of(problem)
    expected = torch.zeros_like(whole)
    for state, step in zip(path.recorded_states, path.schedule, strict=False):
        rows = torch.as_tensor(step.indices)
        at = row_gradients(problem, state.params, rows)
        v = queries.directions(state.params, state.buffers)
        expected[rows] += step.rates[0] / len(rows) * (at @ v)
    torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-12)


RUNS = {
    "batch norm, dropout": {"module": norm_network(), "optimizer__momentum": 0.9, **DECAY},
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.02, **SMOOTH},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_unrolled_is_the_derivative_of_real_retraining(name):
    settings = {"max_epochs": 1, **RUNS[name]}
    net, problem = trained(True, **settings)
    queries, kind = queries_of(problem), settings.get("optimizer", torch.optim.SGD)
    options = {"momentum": 0.9, "weight_decay": 0.01} if name != "adam" else {}
    run = RunInParts(
        settings["module"], problem.X, problem.y, net.trajectory_,
        lambda w, g: RHO * g / g.norm(), kind, options, problem.weights, m=M,
    )  # fmt: skip
    with torch.random.fork_rng():
        end = run.trained(torch.ones(len(problem.y)).double())
    torch.testing.assert_close(
        problem.params, nn.utils.parameters_to_vector(end.parameters()), rtol=0, atol=1e-11
    )
    prepared = Unrolled(check=None).prepare(problem)
    scores = training_scores(problem, prepared.probes(queries), given_only=True)
    assert len(prepared.probes(queries)) == 5 * 3 * 2
    for k in (3, 17):
        expected = -run.derivative(k, queries.X, queries.y)
        assert float(scores[k, 0]) == pytest.approx(expected, rel=1e-4, abs=1e-7)
    group = torch.tensor([0, 7, 11])
    step = prepared.removal_step([group])
    after = queries.cotangent(problem.params, problem.buffers, sorted(step.buffers))
    moved = after.params @ step.params[0]
    for buffer, tangent in step.buffers.items():
        moved = moved + after.buffers[buffer] @ tangent[0]
    torch.testing.assert_close(moved, scores[group].sum(0))


@pytest.mark.parametrize("module", [SMOOTH["module"], norm_network()], ids=["smooth", "norm"])
def test_tangents_of_a_step_equal_finite_differences(module):
    _, problem = trained(module=module, optimizer__momentum=0.9, max_epochs=1)
    training = FunctionalTraining(problem)
    step, state = training.step(2), training.state(problem.path.nearest(2))
    torch.manual_seed(0)
    weights, along = torch.randn(1, 8).double(), torch.randn(1, len(state.params)).double()
    still = {name: torch.zeros(1, 5).double() for name in sorted(training.tracked)}
    pushed = step.jvp(state, Tangent(along, still, (torch.zeros_like(along),)), weights)[1]

    def after(h):
        moved = TrainingState(state.params + h * along[0], state.buffers, state.memory)
        return step.after(moved, 1 + h * weights[0])

    ahead, behind = after(1e-6), after(-1e-6)
    close = {"rtol": 1e-5, "atol": 1e-7}
    torch.testing.assert_close((ahead.params - behind.params) / 2e-6, pushed.params[0], **close)
    for name in still:
        slope = (ahead.buffers[name] - behind.buffers[name]) / 2e-6
        torch.testing.assert_close(slope, pushed.buffers[name][0], **close)


@pytest.mark.slow
def test_hif_by_batches_is_the_derivative_of_the_mean_over_their_parts():
    _, problem = trained(True, **DECAY)

    def sam_gradient(w, s):
        total = 0.0
        batches = [torch.as_tensor(step.indices) for step in problem.path.schedule[-5:]]
        for batch in batches:
            for rows in parts_of(batch, M):
                a = problem.weights[rows]

                def loss(v, s, rows=rows, a=a):
                    out = problem.logits(v, {}, problem.X[rows])
                    losses = problem.row_loss.per_sample(out, problem.y[rows])
                    return (s[rows] * a) @ losses / a.sum()

                g = torch.func.grad(loss)(w, s)
                eps = RHO * g / g.norm()
                weight = a.sum() / problem.weights[batch].sum() / len(batches)
                total = total + weight * torch.func.grad(loss)(w + eps, s)
        return total + 0.01 * w

    ones = torch.ones(len(problem.y), dtype=torch.float64)
    J, C = (torch.func.jacfwd(sam_gradient, at)(problem.params, ones) for at in (0, 1))
    steps = torch.linalg.solve(J + 0.5 * torch.eye(len(J), dtype=J.dtype), C)
    queries = queries_of(problem)
    method = HIF(ascent="batch", damping=0.5)
    found = scores_of(method, problem)
    expected = steps.T @ queries.directions(problem.params, problem.buffers)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-11)
    edit = method.prepare(problem).removal_step([torch.tensor([0, 7])]).params[0]
    torch.testing.assert_close(edit, steps[:, [0, 7]].sum(1), rtol=1e-7, atol=1e-11)
    scale = HIF(damping=0.0).prepare(problem).diagnostics["scale"]
    assert "each part of 3 rows has its own perturbation" in scale


@pytest.mark.slow
def test_leaving_rows_out_trains_in_parts_too():
    net, problem = trained(max_epochs=1)
    queries = queries_of(problem)
    run = RunInParts(
        SMOOTH["module"], problem.X, problem.y, net.trajectory_,
        lambda w, g: RHO * g / g.norm(), torch.optim.SGD, {}, m=M,
    )  # fmt: skip
    everyone = torch.ones(len(problem.y)).double()
    scores = LeaveOneOut(rows=[3]).prepare(problem).scores(queries)[:, 0]
    without = everyone.clone()
    without[3] = 0
    values = [run.value(s, queries.X, queries.y) for s in (without, everyone)]
    assert float(scores[3]) == pytest.approx(values[0] - values[1], rel=1e-8)
    reweighted = FunctionalRun(FunctionalTraining(problem, without)).final().params
    end = nn.utils.parameters_to_vector(run.trained(without).parameters()).detach()
    torch.testing.assert_close(reweighted, end, rtol=0, atol=1e-11)
    further = FurtherSteps(problem, FurtherBatches(problem, 1, 0), 0, None)
    assert [len(batch.rows) for batch in further.step(0).batches] == [2, 3, 3]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (TRAK(at="w+eps", n_checkpoints=2), "with m_sharpness=3 a batch has several"),
        (FixedPoint(tol=1e-4), "FixedPoint supports one perturbation for all rows"),
    ],
    ids=["trak", "fixed-point"],
)
def test_what_has_no_form_for_parts_is_refused_before_training(method, message):
    net, X, y, _ = fitted("mlp", max_epochs=1, m_sharpness=M)
    influence = SAMInfluence(net, method=method, validation=ValidationData(-X[:10], y[:10]))
    with pytest.raises(ValueError, match=message):
        influence.fit(X, y)
    assert not hasattr(influence.estimator_, "trajectory_")
