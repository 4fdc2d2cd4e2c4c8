"""Gauss-Newton, EK-FAC and TRAK for losses of several outputs, against explicit matrices."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_attribution.curvature import GaussNewton, HeadHessian, KroneckerCurvature
from sam_attribution.methods import EKFAC, HIF, TRAK, InfluenceFunction
from sam_attribution.parameters import ParameterLayout
from sam_attribution.probes import training_scores
from sam_attribution.problem import (
    Head,
    OutputRows,
    Problem,
    Queries,
    TargetRows,
    evaluation_function,
)
from tests.sketch import dense_sketch

N, K = 14, 3
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=generator, dtype=torch.float64)
NOISE = torch.randn(N, K, generator=generator, dtype=torch.float64)
POS_WEIGHT = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)


def bce_hessian(z, y):
    p = z.sigmoid()
    return torch.diag_embed(((1 - y) + POS_WEIGHT * y) * p * (1 - p)) / K


def huber_hessian(z, y):
    return torch.diag_embed(((z - y).abs() < 0.6).double()) / K


def soft_hessian(z, y):
    p = z.softmax(1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None]


LOSSES = {
    "labels": (nn.BCEWithLogitsLoss(pos_weight=POS_WEIGHT), (NOISE > 0).double(), bce_hessian),
    "huber": (nn.HuberLoss(delta=0.6), NOISE, huber_hessian),
    "soft labels": (nn.CrossEntropyLoss(), NOISE.softmax(1), soft_hessian),
}


def problem_of(loss, **settings):
    criterion, y, _ = LOSSES[loss]
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, K)).double().eval()
    settings = {"X": X, "y": y, "n_classes": None, "row_loss": OutputRows(criterion)} | settings
    return Problem(module=module, sample_weight=X[:, 0].abs() + 0.5, batch_size=5, **settings)


def jacobian(problem):
    """Of every row's outputs in the parameters, (n, k, n_params), one at a time."""
    leaf = problem.params.clone().requires_grad_()
    outputs = problem.logits(leaf, {}, problem.X)
    rows = [[torch.autograd.grad(z, leaf, retain_graph=True)[0] for z in row] for row in outputs]
    return torch.stack([torch.stack(row) for row in rows])


def explicit_ggn(problem, loss):
    J, share = jacobian(problem), problem.weights / problem.weights.sum()
    H = LOSSES[loss][2](problem.logits(problem.params, {}, X), problem.y)
    return torch.einsum("n,ncp,ncd,ndq->pq", share, J, H, J)


def sides(problem):
    """Gradient of the mean loss of the first rows, and each row's share of the training loss."""
    leaf = problem.params.clone().requires_grad_()
    criterion = problem.row_loss.criterion
    outputs, gradients = problem.logits(leaf, {}, X), []
    for output, y in zip(outputs.split(1), problem.y.split(1), strict=True):
        loss = criterion(output, y)  # of a batch of one: a mean over what the row has
        gradients.append(torch.autograd.grad(loss, leaf, retain_graph=True)[0])
    rows = torch.stack(gradients)
    return rows[:6].mean(0), problem.weights[:, None] / problem.weights.sum() * rows


def scores(method, problem):
    loss = evaluation_function("loss", problem.row_loss)
    queries = Queries(problem, problem.X, problem.y, loss, (torch.arange(6),))
    probes = method.prepare(problem).probes(queries)
    return training_scores(problem, probes, given_only=True)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gauss_newton_matrix_is_the_second_derivative_between_jacobians(loss):
    problem = problem_of(loss)
    expected = explicit_ggn(problem, loss)
    torch.testing.assert_close(GaussNewton(problem, problem.params).to_dense(), expected)
    layout = ParameterLayout(problem.module)
    head = Head(problem.module, layout)
    part = replace(problem, head=head, selected=head.index)
    found = HeadHessian(part, problem.params).to_dense()
    torch.testing.assert_close(found, expected[head.index][:, head.index])
    v, shares = sides(problem)
    inverse = torch.linalg.inv(expected + 0.1 * torch.eye(len(v), dtype=v.dtype))
    for method in (HIF("fast", damping=0.1, curvature="ggn"),
                   InfluenceFunction(damping=0.1, curvature="ggn")):  # fmt: skip
        torch.testing.assert_close(scores(method, problem), shares @ (inverse @ v))


@pytest.mark.parametrize("loss", LOSSES)
def test_ekfac_has_the_diagonal_of_that_matrix_in_its_basis(loss):
    problem = problem_of(loss)
    exact, dense = explicit_ggn(problem, loss), KroneckerCurvature(problem, problem.params)
    for block in dense.blocks:
        identity = torch.eye(len(block.layer.index), dtype=torch.float64)
        basis = block.rotated(identity).flatten(0, -2)
        rotated = basis @ exact[block.layer.index][:, block.layer.index] @ basis.T
        torch.testing.assert_close(block.eigenvalues.flatten(), rotated.diagonal())
    v, shares = sides(problem)
    matrix = dense.to_dense() + 0.1 * torch.eye(len(v), dtype=v.dtype)
    expected = shares @ torch.linalg.solve(matrix, v)
    torch.testing.assert_close(scores(EKFAC(damping=0.1), problem), expected)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_drawn_columns_have_that_matrix_for_their_mean(loss):
    problem = problem_of(loss)
    exact = KroneckerCurvature(problem, problem.params).mean_eigenvalues()
    drawn = KroneckerCurvature(problem, problem.params, n_draws=120).mean_eigenvalues()
    assert drawn == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("loss", LOSSES)
def test_trak_with_weights_is_the_gauss_newton_score(loss):
    problem = problem_of(loss)
    v, shares = sides(problem)
    ggn = explicit_ggn(problem, loss) + 0.05 * torch.eye(len(v), dtype=v.dtype)
    ridge = 0.05 * float(problem.weights.sum())
    found = scores(TRAK(proj_dim=None, ridge=ridge, weighted=True), problem)
    torch.testing.assert_close(found, shares @ torch.linalg.solve(ggn, v))


@pytest.mark.parametrize("loss", LOSSES)
def test_trak_has_a_feature_for_every_output(loss):
    problem = problem_of(loss)
    v, shares = sides(problem)
    P = dense_sketch(problem.layout.size, 8, torch.Generator().manual_seed(5))
    phi = jacobian(problem) @ P
    gram = torch.einsum("n,nci,ncj->ij", problem.weights, phi, phi) + 0.7 * torch.eye(8).double()
    expected = problem.weights.sum() * shares @ P @ torch.linalg.solve(gram, P.T @ v)
    found = scores(TRAK(proj_dim=8, ridge=0.7, random_state=5), problem)
    torch.testing.assert_close(found, expected)


def test_trak_of_binary_labels_has_the_margin_of_each():
    """One logit per label: up to the sign, ``log p / (1 - p)`` of what the label says."""
    problem = problem_of("labels")
    leaf = problem.params.clone().requires_grad_()
    p = problem.logits(leaf, {}, X).sigmoid()
    own = torch.where(problem.y > 0, p, 1 - p)
    margins = (own / (1 - own)).log()
    rows = [torch.autograd.grad(m, leaf, retain_graph=True)[0] for m in margins.flatten()]
    phi, weights = torch.stack(rows), problem.weights.repeat_interleave(K)
    v, shares = sides(problem)
    gram = phi.T @ (weights[:, None] * phi) + 0.7 * torch.eye(len(v), dtype=v.dtype)
    expected = problem.weights.sum() * shares @ torch.linalg.solve(gram, v)
    found = scores(TRAK(proj_dim=None, ridge=0.7), problem)
    torch.testing.assert_close(found, expected)


class DownwardsBCE(nn.Module):
    """Focal loss of several labels: not convex in the logits."""

    reduction = "mean"

    def forward(self, logits, y):
        p = torch.where(y > 0, logits, -logits).sigmoid()
        losses = -((1 - p) ** 2) * p.log()
        return losses if self.reduction == "none" else losses.mean()


METHODS = [EKFAC(), InfluenceFunction(curvature="ggn"), TRAK(weighted=True)]


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (DownwardsBCE(), "criterion DownwardsBCE is not convex in the module's output"),
        (nn.L1Loss(), "criterion L1Loss is linear in the module's output"),
    ],
)
def test_a_loss_without_such_a_matrix_is_refused_before_training(method, criterion, message):
    problem = problem_of("labels", row_loss=OutputRows(criterion))
    with pytest.raises(ValueError, match=message):
        method.check_model(problem, None)
    with pytest.raises(ValueError, match=message):
        method.prepare(problem)
    assert scores(TRAK(), problem).norm() > 0


@pytest.mark.parametrize("scale", [1e-4, 1e5])
def test_a_huber_loss_of_targets_in_other_units_is_convex(scale):
    y = scale * X[:, 0] + 1e3 * scale
    problem = Problem(
        module=nn.Linear(4, 1).double().eval(), X=X, y=y, n_classes=None,
        row_loss=TargetRows(nn.HuberLoss(delta=1.0)),
    )  # fmt: skip
    EKFAC().check_model(problem, None)


def test_many_outputs_are_tried_in_part_alone():
    module = nn.Linear(4, 100).double().eval()
    y = (torch.randn(N, 100, generator=generator) > 0).double()
    problem = Problem(
        module=module, X=X, y=y, n_classes=None, row_loss=OutputRows(nn.BCEWithLogitsLoss())
    )
    InfluenceFunction(curvature="ggn", solver="auto").check_model(problem, None)
    bad = replace(problem, row_loss=OutputRows(DownwardsBCE()))
    with pytest.raises(ValueError, match="is not convex in"):
        InfluenceFunction(curvature="ggn").check_model(bad, None)


def test_nearly_certain_soft_labels_are_convex_in_float32():
    torch.manual_seed(0)
    module = nn.Linear(4, K).eval()
    with torch.no_grad():
        module.bias.copy_(torch.tensor([40.0, 0.0, 0.0]))
    y = torch.nn.functional.one_hot(torch.zeros(N).long(), K).float()
    problem = Problem(
        module=module, X=X.float(), y=y, n_classes=None, row_loss=OutputRows(nn.CrossEntropyLoss())
    )
    KroneckerCurvature(problem, problem.params)


def test_margins_and_values_per_label_are_refused():
    row_loss = problem_of("labels").row_loss
    with pytest.raises(ValueError, match="which BCEWithLogitsLoss does not have"):
        evaluation_function("margin", row_loss)(NOISE, NOISE)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    per_label = evaluation_function(lambda z, y: bce(z, y, reduction="none"), row_loss)
    with pytest.raises(ValueError, match=r"one value per row, shape \(14,\), got shape \(14, 3\)"):
        per_label(NOISE, (NOISE > 0).double())
    with pytest.raises(ValueError, match="a value per row or more"):
        OutputRows(Summed()).per_sample(NOISE, NOISE)


class Summed(nn.Module):
    reduction = "mean"

    def forward(self, output, y):
        return ((output - y) ** 2).sum()
