"""Leave-one-out fixed points against exact solves written out with torch.func."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.influence import SAMInfluence
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.problem import Queries
from sam_attribution.retraining import (
    FixedPoint,
    NoFixedPoint,
    OutOfSteps,
    _fixed_point,
    fixed_point,
    largest_radius,
)
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.convex import RidgeRegression, SoftmaxRegression
from tests.models import fitted_problem, tabular

CASES = {
    "p=2": (PNorm(2), 0.1),
    "p=1.5": (PNorm(1.5), 0.05),
    "p=3": (PNorm(3), 0.02),
    "adaptive": (Adaptive(), 0.05),
    "without ascent": (PNorm(2), 0.0),
}


def draw(name="p=2", rho=None, n=40):
    perturbation, radius = CASES[name]
    rho = radius if rho is None else rho
    return SoftmaxRegression.draw(1, n, 3, 3, rho, 0.1, perturbation)


def trained(convex, distance=0.3):
    """The package's problem some way off the exact root, and the root."""
    root = convex.root(convex.minimiser(), convex.ones())
    assert convex.sam_gradient(root, convex.ones()).norm() < 1e-12
    generator = torch.Generator().manual_seed(0)
    away = distance * torch.randn(len(root), generator=generator, dtype=torch.float64)
    return convex.problem(root + away), root


def queries_of(convex, problem):
    fresh = SoftmaxRegression.draw(2, 20, 3, 3, 0, 0, None)
    everyone = (torch.arange(20),)
    return Queries(problem, fresh.X, fresh.y, problem.row_loss.per_sample, everyone)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_exact_roots(name):
    convex = draw(name)
    problem, root = trained(convex)
    left_out, residuals = convex.left_out_roots(root, n_iter=30)
    assert residuals.max() < 1e-12
    queries = queries_of(convex, problem)
    expected = torch.stack([queries.values(w, {}) for w in left_out]) - queries.values(root, {})
    prepared = FixedPoint(tol=1e-13).prepare(problem)
    torch.testing.assert_close(prepared.scores(queries), expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().median() > 1e-5
    assert prepared.diagnostics["root_residual"] <= 1e-13
    distance = float((root - problem.params).norm())
    assert prepared.diagnostics["distance_from_trained"] == pytest.approx(distance)


def test_groups_are_several_weights_at_zero():
    convex = draw()
    problem, root = trained(convex)
    queries = queries_of(convex, problem)
    s = convex.ones()
    s[:5] = 0
    without = convex.root(root, s)
    expected = queries.values(without, {}) - queries.values(root, {})
    groups = np.arange(40)[None] < 5
    found = FixedPoint(groups=groups, tol=1e-13).prepare(problem)
    torch.testing.assert_close(found.group_effects(queries)[0, 0], expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.scores(queries)[:5], (expected / 5).expand(5, 1))


def test_a_root_far_away_is_found_with_an_inverse_that_does_not_fit():
    convex = draw()
    problem, root = trained(convex, distance=3.0)
    useless = fixed_point(draw("without ascent", n=30).problem(root), root).inverse
    for inverse in (None, useless):
        found = fixed_point(problem, problem.params, inverse, tol=1e-12)
        torch.testing.assert_close(found.params, root, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_large_system_is_solved_without_a_matrix(monkeypatch):
    monkeypatch.setattr("sam_attribution.linalg._default.DENSE_SIZE", 1)
    problem, root = trained(draw())
    found = fixed_point(problem, problem.params, tol=1e-11)
    torch.testing.assert_close(found.params, root, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["p=2", "p=1.5", "p=3"])
def test_the_largest_radius(name):
    convex = draw(name)
    problem, _ = trained(convex)
    expected = float(convex.largest_radius(convex.perturbation.p))
    assert largest_radius(problem, problem.params) == pytest.approx(expected)


@pytest.mark.parametrize("perturbation", [PNorm(math.inf), Adaptive()])
def test_no_largest_radius_is_known(perturbation):
    convex = SoftmaxRegression.draw(1, 40, 3, 3, 0.1, 0.1, perturbation)
    problem = convex.problem(convex.minimiser())
    assert largest_radius(problem, problem.params) is None


@pytest.mark.slow
def test_too_large_a_radius_is_said_with_the_largest():
    convex = draw()
    radius = float(convex.largest_radius(2))
    hovering = draw(rho=5 * radius)
    problem = hovering.problem(hovering.minimiser())
    with pytest.raises(NoFixedPoint, match="the residual stays at"):
        fixed_point(problem, problem.params)
    with pytest.raises(ValueError, match=f"with every row.*below rho_max = {radius:.3g}, and rho"):
        FixedPoint().prepare(problem)


@pytest.mark.slow
def test_steps_that_do_not_suffice_are_said_to_be_too_few():
    problem, root = trained(draw(), distance=3.0)
    suffice = [steps_suffice(problem, n) for n in range(1, 40)]
    assert suffice == sorted(suffice)
    enough = 1 + suffice.index(True)
    assert enough > 1
    found = fixed_point(problem, problem.params, max_iter=enough)
    torch.testing.assert_close(found.params, root, rtol=1e-8, atol=1e-9)
    with pytest.raises(ValueError, match=r"the residual is .* and still falling\. Raise max_iter"):
        FixedPoint(max_iter=enough - 1).prepare(problem)


def steps_suffice(problem, max_iter):
    try:
        fixed_point(problem, problem.params, max_iter=max_iter)
    except OutOfSteps:
        return False
    return True


def test_the_last_step_counts():
    """One step is enough for squared errors without ascent: their gradient is linear."""
    convex = RidgeRegression.draw(1, 40, 3, 0.0, 0.1, PNorm(2))
    problem = convex.problem(torch.ones(4, dtype=torch.float64))
    assert fixed_point(problem, problem.params, max_iter=1).residual <= 1e-10


def nowhere(*arguments, **settings):
    raise NoFixedPoint


def test_the_largest_radius_is_found_whatever_max_iter(monkeypatch):
    convex = draw()
    problem = convex.problem(torch.zeros(12, dtype=torch.float64))
    with pytest.raises(OutOfSteps):
        largest_radius(problem, problem.params, max_iter=1)
    monkeypatch.setattr("sam_attribution.retraining._fixed_point.fixed_point", nowhere)
    with pytest.raises(ValueError, match=f"rho_max = {convex.largest_radius(2):.3g}, and rho"):
        FixedPoint(max_iter=1).prepare(problem)


def test_the_infinity_norm_is_said_to_have_hardly_any():
    convex = SoftmaxRegression.draw(1, 40, 3, 3, 0.1, 0.1, PNorm(math.inf))
    problem = convex.problem(convex.minimiser())
    with pytest.raises(ValueError, match=r"A fixed point rarely exists for PNorm\(p=inf\)"):
        FixedPoint().prepare(problem)


@pytest.mark.slow
def test_through_saminfluence_from_a_trained_classifier():
    X, y, weight = tabular()
    held_out = ValidationData(*tabular(15, seed=1)[:2])
    clf = SAMClassifier(
        nn.Linear(6, 3), max_epochs=20, dtype="float64", random_state=0, optimizer__weight_decay=0.1
    )
    influence = SAMInfluence(clf, method="fixed-point", validation=held_out)
    influence.fit(X, y, sample_weight=weight)
    assert "residual" not in influence.diagnostics_  # of a linear system
    convex = SoftmaxRegression(torch.tensor(X), torch.tensor(y), 3, 0.05, 0.1, PNorm(2))
    share = torch.tensor(weight * len(y) / weight.sum())
    root = convex.root(convex.minimiser(share), share)
    without = share.clone()
    without[7] = 0
    values = [loss_of(convex, w, held_out) for w in (convex.root(root, without), root)]
    assert influence.scores_[7] == pytest.approx(float(values[0] - values[1]), rel=1e-6)


def loss_of(convex, w, held_out):
    logits = convex.logits(w, torch.tensor(held_out.X))
    return nn.functional.cross_entropy(logits, torch.tensor(held_out.y))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float32"}, r"tol=1\.0e-10 is below the rounding error of torch\.float32"),
        (
            {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
            "AdamW's decoupled weight decay is not part of the loss",
        ),
        (
            {"module": nn.Linear(6, 3), "max_epochs": 1},
            r"Jacobian there is singular.* set optimizer__weight_decay",
        ),
    ],
)
def test_what_has_no_fixed_point_is_named(settings, message):
    problem = fitted_problem("mlp", **settings)
    with pytest.raises(ValueError, match=message):
        FixedPoint(max_iter=20).prepare(problem)


def test_rows_that_are_not_there_are_named():
    problem, _ = trained(draw())
    with pytest.raises(ValueError, match=r"rows must be positions in 0\.\.39, got 40"):
        FixedPoint(rows=[40]).prepare(problem)


def solved(counts, monkeypatch, kill_after=None):
    """Note how many fixed points are searched for; Ctrl-C comes after so many."""

    def watched(*args, **options):
        if len(counts) == kill_after:
            raise KeyboardInterrupt
        counts.append(1)
        return fixed_point(*args, **options)

    monkeypatch.setattr(_fixed_point, "fixed_point", watched)
    return counts


@pytest.mark.slow
def test_an_interrupted_search_goes_on(tmp_path, monkeypatch):
    convex = draw(n=12)
    problem, _ = trained(convex)
    method = FixedPoint(rows=[1, 2, 3, 4], resume_dir=tmp_path)
    queries = queries_of(convex, problem)
    expected = FixedPoint(rows=[1, 2, 3, 4]).prepare(problem).scores(queries)
    with monkeypatch.context() as patch:
        solved([], patch, kill_after=4)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            method.prepare(problem)
    assert "keeps 3 of 5 models" in interrupted.value.__notes__[0]
    counts = solved([], monkeypatch)
    found = method.prepare(problem).scores(queries)
    assert len(counts) == 1 + 2  # the others set out from the root with every row
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())
    FixedPoint(rows=[1, 2], tol=1e-9, resume_dir=tmp_path).prepare(problem)
    assert len(counts) == 3 + 1 + 3  # another tolerance is another search
    method.set_params(rows=[1]).prepare(replace(problem, rho=0.05))
    assert len(list(tmp_path.iterdir())) == 3
