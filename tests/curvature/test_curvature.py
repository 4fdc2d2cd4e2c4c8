import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.curvature import (
    EmpiricalFisher,
    GaussNewton,
    HeadFisher,
    Hessian,
    SAMPoint,
    attributed_jacobian,
    sam_jacobian,
)
from sam_attribution.perturbation import as_perturbation
from tests.cases import PERTURBATIONS
from tests.convex import SoftmaxRegression
from tests.models import fitted_problem, given_gradients, row_losses


def mean_loss(problem, w):
    losses = row_losses(problem, problem.logits(w, problem.buffers, problem.X), problem.y)
    return problem.weights @ losses / problem.weights.sum()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn", "regression"])
@pytest.mark.parametrize("batch_size", [7, "auto"])
def test_hessian_equals_autodiff(kind, batch_size):
    problem = fitted_problem(kind, kind != "cnn", options={"batch_size": batch_size})
    expected = torch.func.jacrev(torch.func.grad(lambda w: mean_loss(problem, w)))(problem.params)
    hessian = Hessian(problem, problem.params)
    torch.testing.assert_close(hessian.to_dense(), expected)
    v = torch.ones_like(problem.params)
    torch.testing.assert_close(hessian.matvec(v), expected @ v)


def test_gauss_newton_is_the_hessian_of_a_linear_model_and_semi_definite_else():
    convex = SoftmaxRegression.draw(0, 30, 3, 3, 0.1, 0.1, as_perturbation("l2"))
    w = torch.randn(convex.n_params).double()
    problem = convex.problem(w, batch_size=7)
    torch.testing.assert_close(GaussNewton(problem, w).to_dense(), Hessian(problem, w).to_dense())
    network = fitted_problem("mlp", True)
    dense = GaussNewton(network, network.params).to_dense()
    torch.testing.assert_close(dense, dense.T)
    values = torch.linalg.eigvalsh(dense)
    assert values.min() > -1e-12
    jacobian = torch.func.jacrev(lambda w: network.logits(w, network.buffers, network.X))(
        network.params
    )
    p = network.logits(network.params, network.buffers, network.X).softmax(1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    share = network.weights / network.weights.sum()
    expected = torch.einsum("n,ncp,ncd,ndq->pq", share, jacobian, middle, jacobian)
    torch.testing.assert_close(dense, expected)


def test_gauss_newton_of_a_regression():
    problem = fitted_problem("regression", True, options={"batch_size": 7})
    jacobian = torch.func.jacrev(lambda w: problem.logits(w, {}, problem.X)[:, 0])(problem.params)
    share = problem.weights / problem.weights.sum()
    expected = 2 * jacobian.T @ (share[:, None] * jacobian)
    torch.testing.assert_close(GaussNewton(problem, problem.params).to_dense(), expected)


def second_moment(problem, w):
    """Of the rows' gradients, each from a backward pass of its own."""
    gradients = given_gradients(problem, w, problem.buffers)
    return gradients.T @ (problem.weights[:, None] * gradients) / problem.total_weight


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "batch_size"),
    [("mlp", 7), ("cnn", 7), ("regression", 7), ("cnn", 1), ("mlp", "auto")],
)
def test_the_empirical_fisher_matrix_is_the_second_moment_of_the_gradients(kind, batch_size):
    problem = fitted_problem(kind, kind != "cnn", options={"batch_size": batch_size})
    expected = second_moment(problem, problem.params)
    fisher = EmpiricalFisher(problem, problem.params)
    torch.testing.assert_close(fisher.to_dense(), expected)
    columns = torch.randn(problem.layout.size, 20, dtype=torch.float64)
    torch.testing.assert_close(fisher.matmat(columns), expected @ columns)
    torch.testing.assert_close(fisher.matvec(columns[:, 0]), expected @ columns[:, 0])
    ggn = GaussNewton(problem, problem.params).to_dense()
    assert (ggn - expected).norm() > 0.01 * ggn.norm()


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch: of the margin loss
@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1),
        nn.MultiMarginLoss(),
    ],
)
def test_the_empirical_fisher_matrix_of_other_losses(criterion):
    problem = fitted_problem("mlp", True, criterion=criterion)

    def losses(w):
        output = problem.logits(w, problem.buffers, problem.X)
        return problem.row_loss.per_sample(output, problem.y)

    gradients = torch.func.jacrev(losses)(problem.params)
    of_class = getattr(criterion, "weight", None)
    once = problem.weights if of_class is None else problem.weights / of_class[problem.y]
    expected = gradients.T @ (once[:, None] * gradients) / problem.total_weight
    fisher = EmpiricalFisher(problem, problem.params)
    torch.testing.assert_close(fisher.to_dense(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_the_closed_form_of_the_heads_fisher_matrix(kind, rho):
    problem = fitted_problem(
        kind, kind == "mlp", rho=rho, options={"parameters": "head", "batch_size": 7},
        optimizer__weight_decay=0.1,
    )  # fmt: skip
    point = SAMPoint(problem, "fisher")
    head = problem.selected
    expected = second_moment(problem, point.perturbed)[head][:, head]
    block = attributed_jacobian(point, "fast")
    assert any(isinstance(term, HeadFisher) for term in block.terms)
    identity = torch.eye(len(head), dtype=torch.float64)
    torch.testing.assert_close(block.to_dense(), expected + 0.1 * identity)
    ggn = attributed_jacobian(SAMPoint(problem, "ggn"), "fast").to_dense()
    assert (ggn - block.to_dense()).norm() > 0.01 * ggn.norm()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    # a perturbation meets flat gradients: each with one network, and one of each form with others
    [
        *(("mlp", name) for name in PERTURBATIONS),
        ("cnn", "p=2"),
        ("cnn", "adaptive"),
        ("regression", "p=1.5"),
        ("regression", "eps alone"),
    ],
)
def test_sam_jacobian_of_a_network_equals_autodiff(kind, name):
    problem = fitted_problem(kind, perturbation=PERTURBATIONS[name], optimizer__weight_decay=0.02)
    gradient = torch.func.grad(lambda w: mean_loss(problem, w))

    def sam_gradient(w):
        eps = problem.perturbation.eps(w, gradient(w), problem.rho)
        return gradient(w + eps) + 0.02 * w

    expected = torch.func.jacrev(sam_gradient)(problem.params)
    point = SAMPoint(problem)
    found = sam_jacobian(point, "full").to_dense()
    zero = gradient(problem.params) == 0
    if zero.any() and name == "p=3":
        pytest.skip("autodiff is infinite where a gradient entry is 0; see test_perturbation")
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert point.stationarity() == pytest.approx(float(sam_gradient(problem.params).norm()))


def test_relative_stationarity_is_a_share_of_the_rows_gradients():
    problem = fitted_problem("mlp", optimizer__weight_decay=0.02)
    point = SAMPoint(problem)
    rows = given_gradients(problem, point.perturbed, problem.buffers).norm(dim=1)
    expected = point.stationarity() / float(rows.square().mean().sqrt())
    assert point.relative_stationarity() == pytest.approx(expected)
    some = point.stationarity() / float(rows[[0, 13, 26]].square().mean().sqrt())
    assert point.relative_stationarity(n_rows=3) == pytest.approx(some)


@pytest.mark.slow
def test_variants_differ_and_unknown_ones_are_refused():
    problem = fitted_problem("mlp", optimizer__weight_decay=0.02)
    point = SAMPoint(problem)
    full, paper, fast = (
        sam_jacobian(point, variant).to_dense() for variant in ("full", "paper", "fast")
    )
    assert not np.allclose(full, paper)
    assert not np.allclose(full, fast)
    assert (full - full.T).norm() > 1e-3 * full.norm()
    assert sam_jacobian(point, "fast").symmetric
    with pytest.raises(ValueError, match="variant must be one of"):
        sam_jacobian(point, "exact")
    with pytest.raises(ValueError, match="curvature must be one of"):
        SAMPoint(problem, "laplace")


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [Hessian, GaussNewton, EmpiricalFisher])
def test_sampled_curvature_is_the_whole_on_average(curvature):
    problem = fitted_problem("mlp", True)
    whole = curvature(problem, problem.params)
    v = torch.ones_like(problem.params)
    generator = torch.Generator().manual_seed(0)
    some = torch.stack([whole.sampled(5, generator).matvec(v) for _ in range(400)])
    error = some.std(0) / 400**0.5
    assert ((some.mean(0) - whole.matvec(v)).abs() <= 5 * error + 1e-12).all()
    torch.testing.assert_close(whole.sampled(40, generator).matvec(v), whole.matvec(v))
    batch = curvature(problem, problem.params, torch.tensor([3, 17, 3, 30]))
    torch.testing.assert_close(batch.sampled(9, generator).matvec(v), batch.matvec(v))
