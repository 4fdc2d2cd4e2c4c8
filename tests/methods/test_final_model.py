"""EK-FAC, DataInf and TRAK against explicit gradients and matrices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.curvature import GaussNewton, KroneckerCurvature, SAMPoint
from sam_attribution.methods import EKFAC, HIF, TRAK, DataInf, GradDot, InfluenceFunction
from sam_attribution.probes import row_scores, training_scores
from sam_attribution.problem import (
    CrossEntropyRows,
    Problem,
    Queries,
    evaluation_function,
    problem_from_estimator,
    row_gradients,
)
from tests.models import Branching, batch_gradients, fitted, fitted_problem, given_gradients
from tests.sketch import dense_sketch

torch.manual_seed(0)


def asked(problem, evaluation="loss"):
    function = evaluation_function(evaluation, problem.row_loss)
    groups = (torch.arange(6), torch.arange(4, 9))
    return Queries(problem, problem.X[:9], problem.y[:9], function, groups)


def scores(method, problem, evaluation="loss"):
    probes = method.prepare(problem).probes(asked(problem, evaluation))
    return training_scores(problem, probes, given_only=True)


def sides(problem, at="w", evaluation="loss"):
    """Query gradients at w, and each row's weighted share of the gradient, where it is taken."""
    v = asked(problem, evaluation).directions(problem.params, problem.buffers)
    point = SAMPoint(problem).perturbed if at == "w+eps" else problem.params
    rows = given_gradients(problem, point, problem.buffers)
    return v, problem.weights[:, None] / problem.weights.sum() * rows, rows, point


@pytest.mark.slow
@pytest.mark.parametrize("at", ["w", "w+eps"])
@pytest.mark.parametrize("kind", ["mlp", "cnn", "regression"])
@pytest.mark.parametrize("corrected", [True, False])
def test_ekfac_is_a_product_with_the_inverse(kind, at, corrected):
    problem = fitted_problem(kind, kind != "cnn", optimizer__weight_decay=0.02)
    v, shares, _, point = sides(problem, at)
    curvature = KroneckerCurvature(problem, point, corrected=corrected)
    identity = torch.eye(len(v), dtype=v.dtype)
    matrix = curvature.to_dense() + (0.1 + 0.02) * identity
    found = scores(EKFAC(damping=0.1, at=at, corrected=corrected), problem)
    torch.testing.assert_close(found, shares @ torch.linalg.solve(matrix, v))


def test_damping_by_the_training_is_one_over_the_sum_of_its_rates():
    problem = fitted_problem("mlp", lr=0.05, optimizer__momentum=0.9)
    prepared = EKFAC(damping="training").prepare(problem)
    moved = 0.0  # by a constant unit force
    speed = 0.0
    for _ in range(problem.path.n_steps):
        speed = 0.9 * speed + 1
        moved += 0.05 * speed
    assert prepared.diagnostics["damping"] == pytest.approx(1 / moved)
    expected = scores(EKFAC(damping=1 / moved), problem)
    torch.testing.assert_close(scores(EKFAC(damping="training"), problem), expected)


def test_damping_by_a_training_that_is_not_known_is_refused():
    problem = fitted_problem("mlp", optimizer=torch.optim.RMSprop, trajectory=None)
    with pytest.raises(ValueError, match='Use damping="auto", or a number'):
        EKFAC(damping="training").prepare(problem)


def test_damping_of_ekfac_by_itself_is_a_tenth_of_each_layers_mean_eigenvalue():
    problem = fitted_problem("mlp")
    curvature = KroneckerCurvature(problem, problem.params)
    v, shares, _, _ = sides(problem)
    matrix = curvature.to_dense()
    for block in curvature.blocks:
        index = block.layer.index
        part = matrix[index][:, index]
        matrix[index, index] += 0.1 * part.diagonal().mean()  # the trace is the eigenvalues'
    torch.testing.assert_close(scores(EKFAC(), problem), shares @ torch.linalg.solve(matrix, v))


def test_edits_by_ekfac_are_its_inverse_times_the_rows_gradients():
    problem = fitted_problem("mlp", True)
    _, shares, _, point = sides(problem)
    matrix = KroneckerCurvature(problem, point).to_dense() + 0.1 * torch.eye(
        shares.shape[1], dtype=shares.dtype
    )
    group = torch.tensor([1, 5, 30])
    (step,) = EKFAC(damping=0.1).prepare(problem).removal_step([group]).params
    torch.testing.assert_close(step, torch.linalg.solve(matrix, shares[group].sum(0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_null_direction_of_the_softmax_is_no_curvature(dtype):
    problem = fitted_problem("mlp", dtype=dtype)
    for corrected in (True, False):
        with pytest.raises(ValueError, match=r"layer .* is singular with damping=0: .*Give damp"):
            scores(EKFAC(damping=0, corrected=corrected), problem)
    slight = scores(EKFAC(damping=1e-6), problem)
    more_exact = scores(EKFAC(damping=1e-6), problem.in_double_precision())
    torch.testing.assert_close(slight.double(), more_exact, rtol=0.01, atol=1e-4 * slight.std())


def test_a_layer_that_no_row_moves_adds_nothing():
    """Behind units that are off for every row, damped by itself or not at all."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)).double().eval()
    with torch.no_grad():
        module[0].bias -= 100
    X, y = torch.randn(20, 4).double(), torch.arange(20) % 3
    problem = Problem(module=module, X=X, y=y, n_classes=3)
    for method in (EKFAC(), EKFAC(damping=0)):
        assert not scores(method, problem).any()
    problem = fitted_problem("mlp")
    dead = replace(problem, X=torch.zeros_like(problem.X))  # the first layer has its bias alone
    assert scores(EKFAC(), dead).any()
    with pytest.raises(ValueError, match="is singular with damping=0"):
        scores(EKFAC(damping=0.0), dead)


@pytest.mark.slow
@pytest.mark.parametrize("at", ["w", "w+eps"])
@pytest.mark.parametrize("damping", ["auto", 0.3])
@pytest.mark.parametrize("kind", ["mlp", "cnn", "regression"])
def test_datainf_is_the_published_formula_parameter_by_parameter(kind, damping, at):
    problem = fitted_problem(kind, kind != "cnn", options={"batch_size": 7})
    v, shares, rows, _ = sides(problem, at)
    weight = (problem.weights / problem.weights.sum()).numpy()
    u = np.zeros(v.shape)
    for span in problem.layout.slices.values():
        g, v_l = rows[:, span].numpy(), v[span].numpy()
        lam = 0.1 * weight @ (g**2).sum(1) / g.shape[1] if damping == "auto" else damping
        pulled = [
            w * np.outer(g_i, g_i @ v_l) / (lam + g_i @ g_i)
            for w, g_i in zip(weight, g, strict=True)
        ]
        u[span] = (v_l - sum(pulled)) / lam
    found = scores(DataInf(damping=damping, at=at), problem)
    torch.testing.assert_close(found, shares @ torch.as_tensor(u), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [EKFAC(), EKFAC(n_draws=2, random_state=0), DataInf(), TRAK(proj_dim=12, random_state=0)],
)
def test_passes_and_the_order_of_rows_do_not_matter(method):
    problem = fitted_problem("mlp", True)
    expected = scores(method, problem)
    for size in (1, 7):
        torch.testing.assert_close(scores(method, replace(problem, batch_size=size)), expected)
    if getattr(method, "n_draws", None) is None:
        order = torch.randperm(len(problem.y))
        turned = replace(
            problem, X=problem.X[order], y=problem.y[order],
            sample_weight=problem.sample_weight[order], path=None, visited=None,
        )  # fmt: skip
        queries = replace(asked(problem), problem=turned)
        probes = method.prepare(turned).probes(queries)
        torch.testing.assert_close(
            training_scores(turned, probes, given_only=True), expected[order]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        DataInf(),
        DataInf(damping=0.1),
        EKFAC(),
        EKFAC(corrected=False),
        InfluenceFunction(damping=0.1, curvature="fisher"),
        TRAK(proj_dim=8, random_state=0),
        TRAK(proj_dim=8, weighted=True, random_state=0),
    ],
)
@pytest.mark.parametrize("parameters", ["all", "head"])
def test_class_weights_count_as_sample_weights_do(method, parameters):
    """Both make the same training loss; and equal weights of all classes make none."""
    problem = fitted_problem("mlp", options={"parameters": parameters})
    of_class = torch.tensor([0.5, 0.0, 3.0], dtype=torch.float64)
    by_class = replace(problem, row_loss=CrossEntropyRows(class_weight=of_class), path=None)
    by_row = replace(problem, sample_weight=of_class[problem.y], path=None)
    assert (scores(method, by_class) - scores(method, problem)).norm() > 1e-3
    torch.testing.assert_close(scores(method, by_class), scores(method, by_row))
    alike = CrossEntropyRows(class_weight=torch.full_like(of_class, 7.0))
    torch.testing.assert_close(
        scores(method, replace(problem, row_loss=alike)), scores(method, problem)
    )


def test_a_parameter_that_no_row_moves_is_named():
    problem = fitted_problem("mlp")
    dead = replace(problem, X=torch.zeros_like(problem.X))
    with pytest.raises(ValueError, match=r"no row has a gradient in \['.*weight'"):
        DataInf().prepare(dead)


def binary(n_classes=2):
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, n_classes)).double().eval()
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    return Problem(module=module, X=X, y=torch.arange(30) % n_classes, n_classes=n_classes,
                   rho=0.1, batch_size=8)  # fmt: skip


@pytest.mark.parametrize("at", ["w", "w+eps"])
def test_trak_without_projection_on_two_classes_is_the_gauss_newton_score(at):
    problem = binary()
    v, shares, _, point = sides(problem, at, "margin")
    ggn = GaussNewton(problem, point).to_dense()
    expected = shares @ torch.linalg.solve(ggn + 0.05 * torch.eye(len(ggn), dtype=v.dtype), v)
    method = TRAK(proj_dim=None, ridge=30 * 0.05, weighted=True, at=at)
    found = scores(method, problem, "margin")
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_trak_with_more_classes_or_without_weights_is_another_score():
    """One margin per row is not the Gauss-Newton matrix of three classes."""
    far = {}
    for n_classes, weighted in ((2, False), (3, True)):
        problem = binary(n_classes)
        v, shares, _, _ = sides(problem, "w", "margin")
        ggn = GaussNewton(problem, problem.params).to_dense()
        expected = shares @ torch.linalg.solve(ggn + 0.05 * torch.eye(len(ggn), dtype=v.dtype), v)
        found = scores(TRAK(proj_dim=None, ridge=1.5, weighted=weighted), problem, "margin")
        far[n_classes] = float((found - expected).norm() / expected.norm())
    assert far[2] > 0.1
    assert far[3] > 0.1


def test_trak_is_the_published_formula_in_its_projection():
    problem = binary(3)
    P = dense_sketch(problem.layout.size, 10, torch.Generator().manual_seed(5))
    v, _, rows, _ = sides(problem, "w", "margin")
    p = problem.logits(problem.params, {}, problem.X).softmax(1)[range(30), problem.y]
    margins = -rows / (1 - p)[:, None]  # grad l = -(1 - p) grad f
    phi, phi_query = margins @ P, -(v.T @ P)
    inverse = torch.linalg.inv(phi.T @ phi + 0.7 * torch.eye(10, dtype=phi.dtype))
    expected = (phi_query @ inverse @ phi.T * (1 - p)).T
    found = scores(TRAK(proj_dim=10, ridge=0.7, random_state=5), problem, "margin")
    torch.testing.assert_close(found, expected)
    same = scores(TRAK(proj_dim=10, ridge="auto", random_state=5), problem, "margin")
    ridge = 0.1 * float((phi.T @ phi).diagonal().mean())
    explicit = scores(TRAK(proj_dim=10, ridge=ridge, random_state=5), problem, "margin")
    torch.testing.assert_close(same, explicit)


@pytest.mark.parametrize("parameters", ["head", "*bias"])
def test_trak_of_a_part_of_the_parameters_reads_that_part_of_every_row(parameters):
    problem = fitted_problem("mlp", options={"parameters": parameters})
    v, _, rows, _ = sides(problem, "w", "margin")
    rows = problem.restrict(rows.T).T
    P = dense_sketch(problem.layout.size, 10, torch.Generator().manual_seed(5))
    p = problem.logits(problem.params, {}, problem.X).softmax(1)[range(40), problem.y]
    phi = -rows / (1 - p)[:, None] @ P
    gram = phi.T @ phi + 0.7 * torch.eye(10, dtype=phi.dtype)
    expected = rows @ P @ torch.linalg.solve(gram, P.T @ v)
    found = scores(TRAK(proj_dim=10, ridge=0.7, random_state=5), problem, "margin")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("ridge", [0.0, "auto"])
def test_trak_of_a_part_without_projection_knows_no_other_numbers(ridge):
    problem = fitted_problem("mlp", options={"parameters": "*bias"})
    index = problem.layout.slices[problem.layout.names[-1]]
    problem = replace(problem, selected=torch.arange(index.start, index.stop)[:2])
    v, _, rows, _ = sides(problem, "w", "margin")
    rows, v = rows[:, problem.selected], v[problem.selected]
    p = problem.logits(problem.params, {}, problem.X).softmax(1)[range(40), problem.y]
    phi = -rows / (1 - p)[:, None]
    gram = phi.T @ phi
    added = 0.1 * float(gram.trace()) / 2 if ridge == "auto" else 0.0
    expected = rows @ torch.linalg.solve(gram + added * torch.eye(2, dtype=v.dtype), v)
    found = scores(TRAK(proj_dim=None, ridge=ridge), problem, "margin")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("parameters", ["head", "*weight", "*bias"])
def test_ekfac_and_datainf_of_a_part_of_the_parameters(parameters):
    """The same as of everything, every other number left out."""
    problem = fitted_problem("mlp", True, {"parameters": parameters})
    v, shares, rows, _ = sides(problem)
    index, weight = problem.selected, problem.weights / problem.weights.sum()
    matrix = KroneckerCurvature(problem, problem.params).to_dense()[index][:, index]
    damped = matrix + 0.1 * torch.eye(len(index), dtype=v.dtype)
    expected = shares[:, index] @ torch.linalg.solve(damped, v[index])
    torch.testing.assert_close(scores(EKFAC(damping=0.1), problem), expected)
    expected = torch.zeros_like(expected)
    for span in problem.layout.slices.values():
        if torch.isin(span.start, index):
            g = rows[:, span]
            along = g @ v[span] / (0.3 + g.square().sum(1, keepdim=True))
            expected += shares[:, span] @ (v[span] - g.T @ (weight[:, None] * along)) / 0.3
    torch.testing.assert_close(scores(DataInf(damping=0.3), problem), expected)


def test_the_curvature_of_a_part_of_a_layer_is_that_part_of_the_gauss_newton_matrix():
    """Bias alone: exact, as no product has to be guessed."""
    problem = fitted_problem("mlp", options={"parameters": "*bias"})
    found = KroneckerCurvature(problem, problem.params).to_dense()
    exact = GaussNewton(problem, problem.params).to_dense()
    for span in problem.layout.slices.values():
        if torch.isin(span.start, problem.selected):
            torch.testing.assert_close(found[span, span], exact[span, span])


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["all", "head"])
@pytest.mark.parametrize("at", ["w", "w+eps"])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_an_ensemble_of_checkpoints_is_the_mean_of_their_scores(kind, at, parameters):
    """Everything at its own state: batch norm's statistics, batch and radius of the ascent."""
    clf, X, y, weight = fitted(kind, kind == "mlp", trajectory="all")
    problem = problem_from_estimator(clf, X, y, weight, parameters=parameters)
    queries = asked(problem, "margin")
    generator, expected = torch.Generator().manual_seed(5), 0.0
    a = problem.weights
    for t in (2, 7, 12):  # the middles of three stretches of 15 steps
        state, step = clf.trajectory_.states[t], clf.trajectory_.schedule[t]
        w, rows = state.params, step.indices
        point = w
        if at == "w+eps":
            g = a[rows] @ batch_gradients(problem, w, state.buffers, rows) / a[rows].sum()
            point = w + step.rho * g / g.norm()
        P = dense_sketch(len(w), 10, generator)
        gradients = problem.restrict(given_gradients(problem, point, state.buffers).T).T
        p = problem.logits(point, state.buffers, problem.X).softmax(1)[range(40), problem.y]
        phi = gradients / (1 - p)[:, None] @ P
        gram = phi.T @ (a[:, None] * phi) + 0.7 * torch.eye(10, dtype=phi.dtype)
        v = queries.directions(w, state.buffers)
        expected += a[:, None] * (gradients @ P @ torch.linalg.solve(gram, P.T @ v)) / 3
    method = TRAK(proj_dim=10, ridge=0.7, random_state=5, n_checkpoints=3, at=at)
    torch.testing.assert_close(scores(method, problem, "margin"), expected)
    final = scores(TRAK(proj_dim=10, ridge=0.7, random_state=5, at=at), problem, "margin")
    assert not torch.allclose(final, expected, rtol=1e-2)


def test_trak_of_checkpoints_needs_them():
    problem = fitted_problem("mlp", trajectory=None)
    with pytest.raises(ValueError, match='trajectory="auto"'):
        TRAK(n_checkpoints=2).prepare(problem)
    with pytest.raises(ValueError, match="needs a recorded training"):
        TRAK(n_checkpoints=2).prepare(binary())
    with pytest.raises(ValueError, match="The 'n_checkpoints' parameter of TRAK"):
        TRAK(n_checkpoints=0).prepare(fitted_problem("mlp"))


def test_trak_takes_no_more_columns_than_rows():
    with pytest.raises(ValueError, match="at most the number of rows, 30, got 31"):
        TRAK(proj_dim=31).prepare(binary())
    assert TRAK().prepare(binary()).diagnostics["proj_dim"] == 15
    with pytest.raises(ValueError, match=r"singular with ridge=0: .* Give ridge above 0"):
        TRAK(proj_dim=None, ridge=0).prepare(binary())


def test_at_w_plus_eps_the_influence_function_is_hif_fast():
    problem = fitted_problem("mlp", True, optimizer__weight_decay=0.02)
    at = scores(InfluenceFunction(at="w+eps", damping=0.5), problem)
    torch.testing.assert_close(at, scores(HIF("fast", damping=0.5), problem))
    assert not torch.allclose(at, scores(InfluenceFunction(damping=0.5), problem), rtol=1e-3)


@pytest.mark.parametrize("at", ["w", "w+eps"])
def test_grad_dot_is_a_product_of_gradients(at):
    problem = fitted_problem("mlp", True)
    v, shares, _, _ = sides(problem, at)
    torch.testing.assert_close(scores(GradDot(at=at), problem), shares @ v)


@pytest.mark.parametrize("method", [EKFAC(), DataInf(), TRAK(proj_dim=12, random_state=0)])
def test_scores_of_any_row_are_those_of_training(method):
    problem = fitted_problem("mlp")
    probes = method.prepare(problem).probes(asked(problem))
    torch.testing.assert_close(
        row_scores(problem, probes, problem.X, problem.y),
        training_scores(problem, probes, given_only=True),
    )


def test_gradients_of_rows_where_vmap_fails():
    problem = fitted_problem("mlp")
    strange = replace(problem, module=Branching().double().eval())
    found = torch.cat([each for _, each in row_gradients(strange, strange.params)])
    torch.testing.assert_close(found, given_gradients(strange, strange.params, {}))
