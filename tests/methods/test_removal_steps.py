"""Where methods say the trained state goes without some rows, in float64."""

import copy
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from sam_attribution.curvature import HeadHessian, SAMPoint, attributed_jacobian, sam_jacobian
from sam_attribution.linalg import Arnoldi
from sam_attribution.methods import GIF, HIF, InfluenceFunction, TracIn, Unrolled
from sam_attribution.perturbation import PNorm
from tests.convex import SoftmaxRegression
from tests.methods.test_unrolled import X as ROWS
from tests.methods.test_unrolled import network, trained
from tests.models import fitted_problem, group_cnn, row_gradients

GROUPS = [torch.tensor([3]), torch.tensor([0, 7, 20, 31])]


def convex_problem(n=200, rho=0.1):
    convex = SoftmaxRegression.draw(2, n, 3, 3, rho, 0.1, PNorm(2))
    assert rho < convex.largest_radius(2) / 2
    w = convex.root(convex.minimiser(), convex.ones())
    assert convex.sam_gradient(w, convex.ones()).norm() < 1e-12
    return convex, w


def without(convex, group, size=1.0):
    s = convex.ones()
    s[group] -= size
    return s


def relative_error(step, truth):
    return float((step - truth).norm() / truth.norm())


@pytest.mark.slow
def test_hif_goes_to_the_fixed_point_without_the_rows():
    """Row by row, and 2 % at once: the error of the first order, largest without SAM's part."""
    convex, w = convex_problem()
    groups = [torch.tensor([k]) for k in range(0, 200, 10)] + [
        torch.arange(k, k + 4) for k in range(0, 200, 40)
    ]
    truth = [convex.root(w, without(convex, group)) - w for group in groups]
    errors = {}
    for variant in ("full", "fast", "paper"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no damping
            step = HIF(variant).prepare(convex.problem(w)).removal_step(groups)
        assert step.buffers == {}
        errors[variant] = [relative_error(*pair) for pair in zip(step.params, truth, strict=True)]
    assert max(errors["full"][:20]) < 0.1
    assert max(errors["full"][20:]) < 0.15
    assert np.median(errors["full"]) < min(np.median(errors[v]) for v in ("fast", "paper"))


def test_hif_is_the_derivative_of_the_fixed_point():
    convex, w = convex_problem(60)
    step = HIF().prepare(convex.problem(w)).removal_step(GROUPS)
    h = 1e-4
    for group, found in zip(GROUPS, step.params, strict=True):
        ends = [convex.root(w, without(convex, group, sign * h)) for sign in (1, -1)]
        assert relative_error(found, (ends[0] - ends[1]) / (2 * h)) < 1e-6


def test_the_influence_function_forgets_sam():
    convex, w = convex_problem(60)
    plain = InfluenceFunction().prepare(convex.problem(w)).removal_step(GROUPS).params
    hessian = (
        torch.func.hessian(convex.mean_loss)(w, convex.ones()) + 0.1 * torch.eye(len(w)).double()
    )
    rows = torch.func.jacrev(torch.func.grad(convex.mean_loss), 1)(w, convex.ones())
    expected = torch.stack([torch.linalg.solve(hessian, rows[:, g].sum(1)) for g in GROUPS])
    torch.testing.assert_close(plain, expected, rtol=1e-8, atol=1e-12)
    full = HIF().prepare(convex.problem(w)).removal_step(GROUPS).params
    assert (full - plain).norm() > 0.02 * plain.norm()


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_closed_form_of_the_head_is_the_block_of_the_whole_jacobian(kind, rho, smoothing):
    problem = fitted_problem(
        kind, sample_weight=kind == "mlp", rho=rho, options={"parameters": "head"},
        criterion__label_smoothing=smoothing, optimizer__weight_decay=0.1,
    )  # fmt: skip
    point = SAMPoint(problem)
    whole = sam_jacobian(point, "fast").to_dense()[problem.selected][:, problem.selected]
    for variant in ("fast", "full") if rho == 0 else ("fast",):
        block = attributed_jacobian(point, variant)
        torch.testing.assert_close(block.to_dense(), whole, rtol=1e-10, atol=1e-12)
    assert block.symmetric
    assert any(isinstance(term, HeadHessian) for term in block.terms)


def explicit_sum(problem, groups, *, n_checkpoints, perturbed=True):
    """The sum along the path from one gradient for every row."""
    path, rows = problem.path, torch.arange(len(problem.y))
    rates = torch.tensor([step.rates[0] for step in path.schedule], dtype=torch.float64)
    states = {state.step: state for state in path.states()}
    edges = np.linspace(0, path.n_steps, (n_checkpoints or path.n_steps) + 1).round().astype(int)
    total = torch.zeros(len(groups), len(problem.params), dtype=torch.float64)
    for first, last in pairwise(edges):
        state, step = states[(first + last) // 2], path.schedule[(first + last) // 2]
        batch = torch.as_tensor(step.indices)
        g = row_gradients(problem, state.params, state.buffers)[rows, problem.y]
        point = state.params
        if perturbed:
            mean = (problem.weights[batch, None] * g[batch]).sum(0) / problem.weights[batch].sum()
            point = point + step.rho * mean / mean.norm()
            g = row_gradients(problem, point, state.buffers)[rows, problem.y]
        members = rows if n_checkpoints else batch
        shares = problem.weights[members] / problem.weights[members].sum()
        for out, group in zip(total, groups, strict=True):
            inside = torch.isin(members, group)
            out += rates[first:last].sum() * (shares[inside] @ g[members[inside]])
    return total


@pytest.mark.slow
@pytest.mark.parametrize("n_checkpoints", [3, None])
@pytest.mark.parametrize(("kind", "weighted"), [("mlp", False), ("mlp", True), ("cnn", False)])
def test_gif_and_tracin_sum_the_rows_gradients_along_the_path(kind, n_checkpoints, weighted):
    settings = {"module": group_cnn()} if kind == "cnn" else {}
    problem = fitted_problem(kind, sample_weight=weighted, trajectory="all", rho=0.3, **settings)
    gif = GIF(n_checkpoints=n_checkpoints).prepare(problem).removal_step(GROUPS)
    close = {"rtol": 1e-10, "atol": 1e-14}
    expected = explicit_sum(problem, GROUPS, n_checkpoints=n_checkpoints)
    torch.testing.assert_close(gif.params, expected, **close)
    tracin = TracIn(n_checkpoints=n_checkpoints).prepare(problem).removal_step(GROUPS)
    plain = explicit_sum(problem, GROUPS, n_checkpoints=n_checkpoints, perturbed=False)
    torch.testing.assert_close(tracin.params, plain, **close)
    assert (expected - plain).norm() > 1e-3 * plain.norm()


@pytest.mark.slow
@pytest.mark.parametrize("method", [GIF(n_checkpoints=3), HIF("fast", damping=0.5)], ids=repr)
def test_the_head_alone_moves(method):
    whole = fitted_problem("cnn", trajectory="all")
    head = fitted_problem("cnn", trajectory="all", options={"parameters": "head"})
    step = method.prepare(head).removal_step(GROUPS).params
    rest = torch.ones(len(head.params), dtype=torch.bool)
    rest[head.selected] = False
    assert (step[:, rest] == 0).all()
    if isinstance(method, GIF):
        of_all = method.prepare(whole).removal_step(GROUPS).params
        torch.testing.assert_close(step[:, ~rest], of_all[:, ~rest], rtol=1e-9, atol=1e-14)
    assert (step[:, ~rest].norm(dim=1) > 0).all()


@pytest.mark.slow
def test_arnoldi_in_place_of_the_exact_solve():
    problem = fitted_problem("mlp", trajectory="all")
    exact = HIF(damping=0.5).prepare(problem).removal_step(GROUPS).params
    errors = []
    for n_steps in (10, 40, 1000):
        solver = Arnoldi(n_steps=n_steps, tol=1.0, measured=n_steps == 1000)
        prepared = HIF(damping=0.5, solver=solver).prepare(problem)
        errors.append(relative_error(prepared.removal_step(GROUPS).params, exact))
        assert np.isnan(prepared.diagnostics["residual"]) == (n_steps != 1000)
    assert errors[0] < 0.5
    assert errors[2] < 1e-8 < errors[1] < errors[0]


RUNS = {
    "momentum": {},
    "dampened, p=1.5": {"optimizer": "dampened", "ball": "p=1.5"},
    "nesterov, batch norm": {"module": network(norm=True), "optimizer": "nesterov"},
    "adaptive, dropout": {"module": network("gelu", dropout=True), "ball": "adaptive"},
    "adam, batch norm": {"module": network("gelu", norm=True), "optimizer": "adam"},
    "adamw": {"optimizer": "adamw"},
    "few states": {"trajectory": 1},
    "sample weights": {"sample_weight": np.linspace(0.5, 2, 36)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_unrolled_is_the_derivative_of_real_retraining(name):
    """Parameters and batch norm's statistics, for two groups in one sweep."""
    settings = {"module": network()} | RUNS[name]
    influence, run = trained(settings.pop("module"), **settings)
    prepared = influence.attributions_[0].prepared
    step = prepared.removal_step(GROUPS)
    h = 1e-5
    for number, group in enumerate(GROUPS):
        ends = []
        for sign in (1, -1):
            s = torch.ones(len(ROWS), dtype=torch.float64)
            s[group] -= sign * h
            with torch.random.fork_rng():
                ends.append(copy.deepcopy(run.trained(s)))
        ahead, behind = (parameters_to_vector(m.parameters()).detach() for m in ends)
        assert relative_error(step.params[number], (ahead - behind) / (2 * h)) < 1e-6
        buffers = [dict(m.named_buffers()) for m in ends]
        assert set(step.buffers) == {n for n in buffers[0] if "running" in n}
        for name_, tangent in step.buffers.items():
            truth = (buffers[0][name_] - buffers[1][name_]) / (2 * h)
            assert relative_error(tangent[number], truth) < 1e-6


@pytest.mark.slow
def test_unrolled_in_float64_goes_where_the_float32_run_goes():
    problem = fitted_problem("cnn", dtype="float32", trajectory=3, optimizer__momentum=0.9)
    single, double = (
        Unrolled(precision=p).prepare(problem).removal_step(GROUPS) for p in ("training", "float64")
    )
    assert double.params.dtype == torch.float64
    assert 0 < relative_error(single.params.double(), double.params) < 1e-3
    for name, tangent in double.buffers.items():
        assert 0 < relative_error(single.buffers[name].double(), tangent) < 1e-3
