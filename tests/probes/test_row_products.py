"""Probes read off row gradients against forward mode, and the estimate that chooses."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from sam_attribution.probes import (
    CosineProbe,
    Probe,
    RowProducts,
    StepProbe,
    pass_costs,
    reads_gradients,
    row_products,
    training_scores,
)
from sam_attribution.probes._row_products import SummedRowProducts
from sam_attribution.problem import GenericRows, Problem, Queries, margin, row_gradients
from tests.models import Branching, SmallCNN, fitted_problem
from tests.probes.test_modes import Attention, Recurrent, problem_of

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


PROBLEMS = {
    "mlp": lambda: fitted_problem("mlp", sample_weight=True),
    "cnn": lambda: fitted_problem("cnn"),
    "regression": lambda: fitted_problem("regression"),
    "some parameters": lambda: fitted_problem("mlp", options={"parameters": "*weight"}),
    "head": lambda: fitted_problem("mlp", options={"parameters": "head"}),
    "smoothed, weighted": lambda: fitted_problem(
        "mlp",
        criterion=nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.1),
    ),
    "generic loss": lambda: replace(
        fitted_problem("mlp"), row_loss=GenericRows(nn.MultiMarginLoss())
    ),
    "attention": lambda: problem_of(Attention),
    "lstm": lambda: problem_of(Recurrent),
    "vmap fails": lambda: problem_of(lambda: Branching(40)),
}


def probe_of(problem, kind=Probe, **options):
    generator = torch.Generator().manual_seed(0)
    shift, *columns = torch.randn(4, problem.layout.size, generator=generator).double()
    directions = problem.restrict(torch.stack(columns, dim=1))
    return kind(problem.params + 0.1 * shift, directions, problem.buffers, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Probe, CosineProbe])
@pytest.mark.parametrize("name", PROBLEMS)
def test_row_gradients_give_what_tangents_give(name, kind):
    problem = PROBLEMS[name]()
    rows = torch.tensor([5, 0, 3])
    some = {"rows": rows, "rows_weight": problem.weight_of(rows)}
    for options in ({"rate": 0.3}, some):
        probe = probe_of(problem, kind, **options)
        found = training_scores(problem, [RowProducts(probe)], given_only=True)
        expected = training_scores(problem, [probe], given_only=True)
        torch.testing.assert_close(found, expected, **CLOSE)
        assert expected.abs().max() > 1e-3


def test_points_with_the_same_directions_share_a_product():
    problem = fitted_problem("cnn", sample_weight=True)
    first, other = probe_of(problem, rate=0.3), probe_of(problem)
    again = replace(first, point=problem.params, rate=-2.0)
    of_batch = replace(first, rows=torch.tensor([3, 1]), rows_weight=1.5)
    cosine = probe_of(problem, CosineProbe)
    probes = [first, again, other, of_batch, cosine, cosine]
    readers = list(row_products(probes))
    assert [type(reader) for reader in readers] == [SummedRowProducts] + 4 * [RowProducts]
    found = training_scores(problem, readers, given_only=True)
    torch.testing.assert_close(found, training_scores(problem, probes, given_only=True), **CLOSE)


@pytest.mark.parametrize("rows_at_once", [1, 3, 1000])
def test_chunks_do_not_matter(rows_at_once, monkeypatch):
    problem = fitted_problem("cnn")
    probe = probe_of(problem)
    expected = training_scores(problem, [RowProducts(probe)], given_only=True)
    per_row = 8 * problem.layout.size
    budget = "sam_attribution.problem._row_gradients._BYTES"
    monkeypatch.setattr(budget, {"cpu": rows_at_once * per_row, "cuda": 0})
    assert len(next(iter(row_gradients(problem, probe.point)))[0]) == min(rows_at_once, 40)
    found = training_scores(problem, [RowProducts(probe)], given_only=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_sure_prediction_keeps_its_direction_in_float32():
    problem = fitted_problem("mlp", dtype="float32", max_epochs=1)
    w = problem.params.clone()
    w[-3:] += torch.tensor([18.0, 0.0, 0.0])
    wide = problem.in_double_precision()
    directions = torch.randn(len(w), 2, generator=torch.Generator().manual_seed(0))
    found, exact = (
        training_scores(p, [RowProducts(CosineProbe(at, d, {}))], given_only=True)
        for p, at, d in ((problem, w, directions), (wide, w.double(), directions.double()))
    )
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


def test_which_probes_are_known_by_row_gradients():
    class Own(Probe):
        def given_label(self, problem, X, y):
            return super().given_label(problem, X, y) ** 2

    problem = fitted_problem("mlp")
    output = torch.zeros(2, 3).double()
    step = probe_of(problem, StepProbe, output=output, tangents=output[..., None])
    assert reads_gradients(probe_of(problem))
    assert reads_gradients(probe_of(problem, CosineProbe))
    assert not reads_gradients(step)
    assert not reads_gradients(probe_of(problem, Own))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("evaluation", ["loss", "margin"])
@pytest.mark.parametrize("normalize", [False, True])
def test_queries_of_single_rows_equal_one_backward_pass_each(name, evaluation, normalize):
    problem = PROBLEMS[name]()
    if evaluation == "margin" and problem.n_classes is None:
        pytest.skip("a regression has no margin")
    function = problem.row_loss.evaluated if evaluation == "loss" else margin
    rows = torch.tensor([4, 2, 6, 2])
    X, y = problem.X, problem.y
    w, buffers = problem.params + 0.1, problem.buffers
    together = Queries(problem, X, y, function, tuple(rows.split(1)), normalize)
    columns = []
    for row in rows:
        leaf = w.clone().requires_grad_()
        value = function(problem.logits(leaf, buffers, X[row][None]), y[row][None])[0]
        column = problem.restrict(torch.autograd.grad(value, leaf)[0][:, None])
        columns.append(column / (float(column.norm()) or 1.0) if normalize else column)
    found = together.directions(w, buffers)
    torch.testing.assert_close(found, torch.cat(columns, dim=1), rtol=1e-12, atol=1e-12)


def test_the_estimate_is_of_shapes_alone():
    def costs(module, k, shape=(1, 6, 6)):
        X, y = torch.zeros(4, *shape), torch.zeros(4).long()
        return pass_costs(Problem(module=module.eval(), X=X, y=y, n_classes=3), k)

    few, many = costs(SmallCNN(), 1), costs(SmallCNN(), 1000)
    assert many == costs(SmallCNN(), 1000)
    assert few["tangents"] < few["row-gradients"]
    assert many["row-gradients"] < many["tangents"]
    one, two = (costs(nn.Linear(36, 3, bias=False), k, (36,)) for k in (1, 2))
    forward = 36 * 3 + 40 * (36 + 3)
    assert one["tangents"] == pytest.approx(2.2 * forward)
    assert two["row-gradients"] == pytest.approx(4 * forward + (100 + 1.2) * 36 * 3)


def test_the_head_in_closed_form_beats_row_gradients():
    problem = fitted_problem("mlp", options={"parameters": "head"})
    costs = pass_costs(problem, 1000)
    assert costs["tangents"] < costs["row-gradients"]
