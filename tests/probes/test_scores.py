"""Probe scores against explicit gradients, one row and one label at a time."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.probes import Probe, row_scores, training_scores
from sam_attribution.problem import CrossEntropyRows, GenericRows, Problem
from tests.models import SmallCNN, fitted_problem, given_gradients, row_gradients

KINDS = ["mlp", "cnn"]


def random_probe(problem, seed=0, k=2, **options):
    generator = torch.Generator().manual_seed(seed)
    shift, *columns = torch.randn(k + 1, problem.layout.size, generator=generator).double()
    directions = torch.stack(columns, dim=1)
    return Probe(problem.params + 0.1 * shift, directions, problem.buffers, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_and_label_equals_its_explicit_gradient(kind):
    problem = fitted_problem(kind)
    probe = random_probe(problem, rate=0.3)
    gradients = row_gradients(problem, probe.point, problem.buffers)
    expected = 0.3 / len(problem.y) * gradients @ probe.directions
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(training_scores(problem, [probe]), expected, **close)
    torch.testing.assert_close(row_scores(problem, [probe], problem.X), expected, **close)
    given = expected[torch.arange(len(problem.y)), problem.y]
    torch.testing.assert_close(training_scores(problem, [probe], given_only=True), given, **close)
    torch.testing.assert_close(row_scores(problem, [probe], problem.X, problem.y), given, **close)


@pytest.mark.slow
@pytest.mark.parametrize(
    "criterion", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, partial(nn.HuberLoss, delta=0.5)]
)
@pytest.mark.parametrize("parameters", ["all", "head"])
def test_rows_with_targets_equal_their_explicit_gradients(criterion, parameters):
    problem = fitted_problem("regression", criterion=criterion, options={"parameters": parameters})
    probe = random_probe(problem, rate=0.3)
    probe = Probe(probe.point, problem.restrict(probe.directions), probe.buffers, rate=0.3)
    leaf = probe.point.requires_grad_()
    losses = criterion(reduction="none")(problem.logits(leaf, {}, problem.X)[:, 0], problem.y)
    gradients = [torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in losses]
    expected = 0.3 / len(problem.y) * torch.stack(gradients) @ probe.directions
    close = {"rtol": 1e-10, "atol": 1e-10}
    found = training_scores(problem, [probe], given_only=True)
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(row_scores(problem, [probe], problem.X, problem.y), found, **close)
    if criterion is nn.MSELoss:
        by_hand = given_gradients(problem, probe.point, {})
        torch.testing.assert_close(torch.stack(gradients), by_hand, **close)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_size_does_not_matter_to_targets(dtype):
    scores = []
    for batch_size in (1, 7, 40, "auto"):
        problem = fitted_problem("regression", dtype=dtype, options={"batch_size": batch_size})
        probe = random_probe(problem)
        point, directions = probe.point.to(problem.params), probe.directions.to(problem.params)
        probe = Probe(point, directions, probe.buffers)
        scores.append(training_scores(problem, [probe], given_only=True))
    tolerance = 1e-6 if dtype == "float32" else 1e-10
    for other in scores[1:]:
        assert (other - scores[0]).abs().max() <= tolerance * scores[0].abs().max()


def test_batch_probes_count_for_their_rows_with_their_share_of_the_weight():
    problem = fitted_problem("mlp", sample_weight=True)
    rows = torch.tensor([3, 30, 7])
    probe = random_probe(problem, rows=rows, rows_weight=problem.weight_of(rows))
    everywhere = random_probe(problem)
    gradients = row_gradients(problem, probe.point, problem.buffers) @ probe.directions
    expected = gradients * (problem.weights / problem.weights.sum())[:, None, None]
    expected[rows] += (
        gradients[rows] * (problem.weights[rows] / problem.weights[rows].sum())[:, None, None]
    )
    torch.testing.assert_close(training_scores(problem, [probe, everywhere]), expected)
    stranger = row_scores(problem, [probe], problem.X)
    torch.testing.assert_close(stranger, gradients / problem.weights.sum())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_size_does_not_matter(kind, dtype):
    tables = []
    for batch_size in (1, 7, 40, "auto"):
        problem = fitted_problem(kind, dtype=dtype, options={"batch_size": batch_size})
        probe = random_probe(problem)
        point, directions = probe.point.to(problem.params), probe.directions.to(problem.params)
        probe = Probe(point, directions, probe.buffers)
        tables.append(training_scores(problem, [probe]))
    tolerance = 1e-6 if dtype == "float32" else 1e-10
    for table in tables[1:]:
        assert (table - tables[0]).abs().max() <= tolerance * tables[0].abs().max()


def test_order_and_duplicates_of_scored_rows():
    problem = fitted_problem("cnn")
    probe = random_probe(problem)
    order = torch.as_tensor(np.random.default_rng(0).permutation(40))
    scores = row_scores(problem, [probe], problem.X)
    permuted = row_scores(problem, [probe], problem.X[order])
    torch.testing.assert_close(permuted, scores[order], rtol=1e-12, atol=1e-14)
    twice = row_scores(problem, [probe], torch.cat([problem.X[:3], problem.X[:3]]))
    torch.testing.assert_close(twice[:3], twice[3:], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_closed_form_of_cross_entropy_equals_the_generic_form(smoothing):
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    problem = fitted_problem("mlp", criterion=criterion)
    logits, tangents = random_logits()
    generic = GenericRows(criterion)
    torch.testing.assert_close(
        problem.row_loss.label_table(logits, tangents), generic.label_table(logits, tangents)
    )


def random_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator).double()
    return logits, torch.randn(5, 3, 2, generator=generator).double()


CLASS_WEIGHT = torch.tensor([0.3, 2.0, 1.1], dtype=torch.float64)
ROW_LOSSES = {
    "cross-entropy": CrossEntropyRows(),
    "smoothed and weighted": CrossEntropyRows(0.2, CLASS_WEIGHT),
    "generic": GenericRows(nn.CrossEntropyLoss(CLASS_WEIGHT)),
}


@pytest.mark.parametrize("name", ROW_LOSSES)
def test_along_the_given_label_is_the_entry_of_the_table(name):
    logits, tangents = random_logits()
    y = torch.tensor([0, 2, 1, 1, 0])
    found = ROW_LOSSES[name].along(logits, tangents, y)
    table = ROW_LOSSES[name].label_table(logits, tangents)
    assert torch.equal(found, table[torch.arange(5), y])
    _, expected = torch.func.jvp(
        lambda z: ROW_LOSSES[name].per_sample(z, y), (logits,), (tangents[..., 0],)
    )
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-12, atol=1e-12)


def test_along_the_given_label_keeps_what_is_left_of_a_sure_prediction():
    """In float32, where the probability rounds to 1."""
    logits, tangents = torch.tensor([[20.0, 0.0, -1.0]]), torch.tensor([[[3.0], [1.0], [2.0]]])
    y = torch.tensor([0])
    found = CrossEntropyRows().along(logits, tangents, y)
    exact = CrossEntropyRows().along(logits.double(), tangents.double(), y)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_in_closed_form_equals_the_full_pass(kind):
    head = fitted_problem(kind, options={"parameters": "head"})
    full = fitted_problem(kind)
    probe = random_probe(full)
    probe = Probe(probe.point, head.restrict(probe.directions), probe.buffers)
    assert 0 < len(head.selected) < full.layout.size
    torch.testing.assert_close(training_scores(head, [probe]), training_scores(full, [probe]))


def test_a_head_that_is_not_the_last_word_is_refused():
    class Scaled(SmallCNN):
        def forward(self, images):
            return 2 * super().forward(images)

    with pytest.raises(ValueError, match='parameters="head" needs logits that are'):
        fitted_problem("cnn", module=Scaled, options={"parameters": "head"})


def test_the_module_is_left_as_it_was():
    module = SmallCNN().double().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    problem = Problem(
        module=module, X=torch.randn(4, 1, 6, 6).double(), y=torch.zeros(4).long(), n_classes=3
    )
    hooks = len(module.head._forward_pre_hooks)
    training_scores(problem, [random_probe(problem)])
    assert all(torch.equal(before[n], v) for n, v in module.state_dict().items())
    assert len(module.head._forward_pre_hooks) == hooks


def test_a_module_in_training_mode_is_refused():
    rows = {"X": torch.randn(4, 1, 6, 6), "y": torch.zeros(4).long(), "n_classes": 3}
    with pytest.raises(ValueError, match="module must be in evaluation mode"):
        Problem(module=SmallCNN(), **rows)
