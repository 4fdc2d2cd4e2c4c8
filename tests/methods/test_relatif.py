"""RelatIF against the Hessian and the gradients of single rows from autodiff."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sam_attribution.curvature import KroneckerCurvature, SAMPoint
from sam_attribution.influence import SAMInfluence
from sam_attribution.linalg import CG, Arnoldi
from sam_attribution.methods import EKFAC, GIF, HIF, GradDot, InfluenceFunction, RelatIF
from sam_attribution.probes import training_scores
from sam_attribution.training import MLP, SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.methods.test_final_model import asked, scores, sides
from tests.models import fitted_problem, given_gradients, row_gradients, row_losses, tabular

INFLUENCES = {
    "if": InfluenceFunction(damping=0.5),
    "if, cg": InfluenceFunction(damping=0.5, solver=CG(tol=1e-13)),
    "if at w+eps": InfluenceFunction(damping=0.5, at="w+eps"),
    "hif fast": HIF("fast", damping=0.5),
    "ekfac": EKFAC(damping=0.5),
    "ekfac at w+eps": EKFAC(damping=0.5, at="w+eps"),
}


def matrix_and_point(problem, name):
    """H of the attributed numbers, and where rows are taken, by other means."""
    w = problem.params
    point = w if "w+eps" not in name and "hif" not in name else SAMPoint(problem).perturbed

    def mean_loss(w):
        losses = row_losses(problem, problem.logits(w, problem.buffers, problem.X), problem.y)
        return problem.weights @ losses / problem.weights.sum()

    if name.startswith("ekfac"):
        H = KroneckerCurvature(problem, point).to_dense()
    else:
        H = torch.func.jacrev(torch.func.grad(mean_loss))(point)
    return H + 0.55 * torch.eye(len(w), dtype=w.dtype), point  # the damping and the decay


def expected_scores(problem, name, normalize, gradients):
    H, point = matrix_and_point(problem, name)
    index = slice(None) if problem.selected is None else problem.selected
    inverse = torch.linalg.inv(H[index][:, index])
    G = gradients(problem, point, problem.buffers)[..., index]
    v = asked(problem).directions(problem.params, problem.buffers)[index]
    moved = G @ inverse
    size = (G * moved).sum(-1).sqrt() if normalize == "loss" else moved.norm(dim=-1)
    return moved @ v / size[..., None]


# every influence for all parameters, and one of each kind of matrix for some
OF_SOME = [(name, some) for name in ("if", "hif fast", "ekfac") for some in ("head", "*bias")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), [*((n, "all") for n in INFLUENCES), *OF_SOME])
@pytest.mark.parametrize("normalize", ["loss", "parameters"])
def test_every_label_has_the_published_formula(name, normalize, parameters):
    """Weights of rows count in the matrix, and cancel in the ratio."""
    problem = fitted_problem("mlp", True, {"parameters": parameters}, optimizer__weight_decay=0.05)
    expected = expected_scores(problem, name, normalize, row_gradients)
    method = RelatIF(INFLUENCES[name], normalize=normalize)
    probes = method.prepare(problem).probes(asked(problem))
    close = {"rtol": 1e-8, "atol": 1e-10}
    torch.testing.assert_close(training_scores(problem, probes), expected, **close)
    given = expected[torch.arange(len(problem.y)), problem.y]
    torch.testing.assert_close(scores(method, problem), given, **close)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["loss", "parameters"])
@pytest.mark.parametrize("kind", ["cnn", "regression"])
def test_convolutions_and_targets(kind, normalize):
    problem = fitted_problem(kind, optimizer__weight_decay=0.05)
    influence = EKFAC(damping=0.5) if kind == "cnn" else InfluenceFunction(damping=0.5)
    name = "ekfac" if kind == "cnn" else "if"
    expected = expected_scores(problem, name, normalize, given_gradients)
    found = scores(RelatIF(influence, normalize=normalize), problem)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["all", "head"])
@pytest.mark.parametrize("influence", [InfluenceFunction(damping=0.5), EKFAC()], ids=str)
def test_passes_do_not_matter(influence, parameters):
    problem = fitted_problem("mlp", True, {"parameters": parameters})
    expected = scores(RelatIF(influence), problem)
    for size in (1, 7):
        found = scores(RelatIF(influence), replace(problem, batch_size=size))
        torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("method", [InfluenceFunction, EKFAC])
def test_the_point_matters_for_rho_above_0_alone(method):
    for rho, same in ((0.0, True), (0.1, False)):
        problem = fitted_problem("mlp", rho=rho)
        first, second = (
            scores(RelatIF(method(damping=0.5, at=at)), problem) for at in ("w", "w+eps")
        )
        assert torch.allclose(first, second, rtol=1e-3) == same


def test_the_own_query_of_a_row_has_the_root_of_the_quadratic_form():
    X, y, _ = tabular()
    clf = SAMClassifier(max_epochs=3, batch_size=8, dtype="float64", random_state=0)
    method, held_out = RelatIF(InfluenceFunction(damping=0.5)), ValidationData(X[:5], y[:5])
    fitted = SAMInfluence(clf, method=method, validation=held_out).fit(X, y)
    attribution = fitted.attributions_[0]
    _, _, rows, _ = sides(attribution.problem)
    H, _ = matrix_and_point(attribution.problem, "if")
    H = H - 0.05 * torch.eye(len(H), dtype=H.dtype)  # no decay here
    expected = (rows * torch.linalg.solve(H, rows.T).T).sum(1).sqrt()
    np.testing.assert_allclose(fitted.self_influence(), expected, rtol=1e-8)
    assert "no unit" in fitted.diagnostics_.loc[0, "scale"]
    assert fitted.diagnostics_.loc[0, "residual"] < 1e-9


def test_a_matrix_with_negative_directions_has_no_root():
    problem = fitted_problem("mlp")
    influence = InfluenceFunction(damping=1e-3)
    with pytest.raises(ValueError, match='normalize="loss" needs a positive definite matrix'):
        scores(RelatIF(influence), problem)
    assert torch.isfinite(scores(RelatIF(influence, normalize="parameters"), problem)).all()


def test_a_row_without_gradient_has_score_zero():
    problem = fitted_problem("mlp", options={"parameters": "1.weight"})
    dead = replace(problem, X=torch.zeros_like(problem.X))
    for influence in (EKFAC(damping=0.5), InfluenceFunction(damping=0.5, solver=CG())):
        probes = RelatIF(influence).prepare(dead).probes(asked(problem))
        assert (training_scores(dead, probes) == 0).all()


@pytest.mark.parametrize(
    ("influence", "message"),
    [
        (
            HIF(),
            r'a row also changes the perturbation, or counts in its own batch. Use HIF\("fast"\)',
        ),
        (HIF("paper"), r"in HIF\(variant=.paper.\) a row also changes"),
        (GradDot(), r"that inverts one matrix, InfluenceFunction\(\), .* got GradDot\(\)"),
        (GIF(), r"got GIF\(\)"),
        ("if", "The 'influence' parameter of RelatIF"),
    ],
)
def test_what_inverts_no_matrix_is_refused(influence, message):
    with pytest.raises(ValueError, match=message):
        RelatIF(influence).prepare(fitted_problem("mlp"))


@pytest.mark.slow
def test_by_default_many_solves_are_cheap():
    small = fitted_problem("mlp", optimizer__weight_decay=0.05)
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        expected = scores(RelatIF(InfluenceFunction()), small)
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        assert torch.equal(scores(RelatIF(), small), expected)
    settings = {"module": MLP, "module__n_features": 6, "module__n_outputs": 3}
    large = fitted_problem("mlp", **settings, module__n_hidden=110)
    by_arnoldi = InfluenceFunction(solver=Arnoldi())
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        expected = scores(RelatIF(by_arnoldi), large)
    with pytest.warns(UserWarning, match="the SAM Jacobian has eigenvalues near 0"):
        assert torch.equal(scores(RelatIF(), large), expected)
