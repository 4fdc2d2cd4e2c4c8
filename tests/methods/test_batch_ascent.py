"""HIF with the ascent of every batch, against the derivative of that written out by autodiff."""

import pytest
import torch

from sam_attribution.curvature import SAMPoints
from sam_attribution.linalg import GMRES
from sam_attribution.methods import HIF, RelatIF
from sam_attribution.probes import row_scores, training_scores
from tests.methods.test_hif import queries_of
from tests.models import fitted, fitted_problem

DAMPING = 0.5
EXACT_GMRES = GMRES(tol=1e-12, max_iter=1000, restart=400)
SETTINGS = {"rho": 0.1, "optimizer__weight_decay": 0.01}


def batch_sam_gradient(problem, w, row_weights):
    """Mean over the last epoch's batches of ``grad L_B(w + eps(grad L_B(w))) + lam w``."""

    def mean_loss(v, rows):
        logits = problem.logits(v, problem.buffers, problem.X[rows])
        losses = problem.row_loss.per_sample(logits, problem.y[rows])
        weights = problem.weights[rows]
        return (row_weights[rows] * weights) @ losses / weights.sum()

    total = torch.zeros_like(w)
    batches = problem.path.last_epoch
    for rows in batches:
        gradient = torch.func.grad(mean_loss)(w, rows)
        perturbed = w + problem.perturbation.eps(w, gradient, problem.rho)
        total = total + torch.func.grad(mean_loss)(perturbed, rows)
    return total / len(batches) + problem.weight_decay * w


def dense_steps(problem):
    """``(J + damping)^-1 dF / ds_k`` of every row k, shape (n_params, n_samples)."""
    ones = torch.ones_like(problem.weights)
    J = torch.func.jacfwd(lambda w: batch_sam_gradient(problem, w, ones))(problem.params)
    C = torch.func.jacfwd(lambda s: batch_sam_gradient(problem, problem.params, s))(ones)
    return torch.linalg.solve(J + DAMPING * torch.eye(len(J), dtype=J.dtype), C)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "perturbation", "solver"),  # every pair of two
    [
        ("mlp", "l2", "auto"),
        ("mlp", "adaptive", EXACT_GMRES),
        ("cnn", "l2", EXACT_GMRES),
        ("cnn", "adaptive", "auto"),
    ],
)
def test_scores_and_edits_are_the_derivative_of_the_mean_over_batches(kind, perturbation, solver):
    problem = fitted_problem(kind, kind == "mlp", perturbation=perturbation, **SETTINGS)
    prepared = HIF(ascent="batch", damping=DAMPING, solver=solver).prepare(problem)
    steps, queries = dense_steps(problem), queries_of(problem)
    found = training_scores(problem, prepared.probes(queries), given_only=True)
    expected = steps.T @ queries.directions(problem.params, problem.buffers)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-11)
    groups = [torch.tensor([3]), torch.tensor([0, 7, 11])]
    edits = prepared.removal_step(groups).params
    whole = torch.stack([steps[:, rows].sum(1) for rows in groups])
    torch.testing.assert_close(edits, whole, rtol=1e-7, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["head", "*bias"])
def test_a_part_of_the_parameters_uses_its_block(parameters):
    problem = fitted_problem("cnn", options={"parameters": parameters}, **SETTINGS)
    queries = queries_of(problem)
    found = training_scores(
        problem,
        HIF("fast", ascent="batch", damping=DAMPING).prepare(problem).probes(queries),
        given_only=True,
    )
    points = SAMPoints(problem, problem.path.last_epoch)
    jacobian = points.jacobian("fast").to_dense()
    damped = jacobian + DAMPING * torch.eye(len(jacobian), dtype=jacobian.dtype)
    v = queries.directions(problem.params, problem.buffers)[problem.selected]
    u = torch.linalg.solve(damped, v)
    for point in points:
        for row in point.rows:
            g = problem.mean_gradient(point.perturbed, problem.buffers, row[None])
            expected = g[problem.selected] @ u / len(point.rows) / len(points)
            torch.testing.assert_close(found[row], expected, rtol=1e-8, atol=1e-12)


def test_without_perturbation_and_in_equal_batches_it_is_the_full_ascent():
    problem = fitted_problem("mlp", rho=0.0, batch_size=10)
    queries = queries_of(problem)
    batch, full = (
        training_scores(
            problem,
            HIF(ascent=ascent, damping=DAMPING).prepare(problem).probes(queries),
            given_only=True,
        )
        for ascent in ("batch", "full")
    )
    torch.testing.assert_close(batch, full, rtol=1e-10, atol=1e-13)


def test_with_perturbation_the_two_differ_and_other_rows_sit_in_every_batch():
    problem = fitted_problem("mlp", batch_size=10, rho=0.1)
    queries, scores = queries_of(problem), {}
    for ascent in ("batch", "full"):
        probes = HIF("fast", ascent=ascent, damping=DAMPING).prepare(problem).probes(queries)
        scores[ascent] = row_scores(problem, probes, problem.X, problem.y)
    difference = (scores["batch"] - scores["full"]).norm()
    assert 1e-3 * scores["full"].norm() < difference < 0.5 * scores["full"].norm()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fast", "full"])
def test_random_rows_of_the_mean_jacobian_are_it_on_average(variant):
    problem = fitted_problem("mlp", True, **SETTINGS)
    jacobian = SAMPoints(problem, problem.path.last_epoch).jacobian(variant).T
    v = torch.ones_like(problem.params)
    generator = torch.Generator().manual_seed(0)
    some = torch.stack([jacobian.sampled(5, generator).matvec(v) for _ in range(300)])
    error = some.std(0) / 300**0.5
    assert error.norm() > 1e-3 * jacobian.matvec(v).norm()
    assert ((some.mean(0) - jacobian.matvec(v)).abs() <= 5 * error + 1e-12).all()


def test_points_made_again_at_each_reading_are_the_same(monkeypatch):
    problem = fitted_problem("mlp", **SETTINGS)
    held = SAMPoints(problem, problem.path.last_epoch)
    monkeypatch.setattr("sam_attribution.curvature._ascent._BYTES", 0)
    made = SAMPoints(problem, problem.path.last_epoch)
    assert held[0] is held[0]
    assert made[0] is not made[0]
    assert len(list(made)) == len(made) == len(problem.path.last_epoch)
    v = torch.ones_like(problem.params)
    torch.testing.assert_close(made.jacobian("full").matvec(v), held.jacobian("full").matvec(v))


def test_rows_that_the_last_epoch_left_out_are_refused():
    problem = fitted_problem("mlp")
    object.__setattr__(problem, "path", None)
    with pytest.raises(ValueError, match="recorded last epoch that contains every row"):
        HIF(ascent="batch").prepare(problem)


def test_relatif_refuses_rows_that_count_in_their_own_batch():
    with pytest.raises(ValueError, match="counts in its own batch"):
        RelatIF(HIF("fast", ascent="batch")).prepare(fitted_problem("mlp"))


def test_the_last_epoch_holds_the_batches_that_were_drawn():
    classifier, _, y, _ = fitted("mlp", batch_size=16, max_epochs=2)
    problem = fitted_problem("mlp", batch_size=16, max_epochs=2)
    drawn = [step.indices for step in classifier.trajectory_.schedule[-3:]]
    assert [len(rows) for rows in problem.path.last_epoch] == [len(rows) for rows in drawn]
    assert sorted(torch.cat(problem.path.last_epoch).tolist()) == list(range(len(y)))
