import pytest
import torch
from torch import nn

from sam_attribution.problem import (
    Problem,
    Queries,
    evaluation_function,
    margin,
    problem_from_another_seed,
    problem_from_estimator,
)
from tests.models import fitted, fitted_problem, row_losses


@pytest.mark.parametrize("kind", ["cnn", "regression"])
def test_mean_gradient_is_the_weighted_mean_without_weight_decay(kind):
    problem = fitted_problem(kind, True, optimizer__weight_decay=0.5, options={"batch_size": 7})
    leaf = problem.params.clone().requires_grad_()
    rows = torch.tensor([5, 1, 30])
    for chosen in (None, rows):
        index = slice(None) if chosen is None else chosen
        logits = problem.logits(leaf, problem.buffers, problem.X[index])
        losses = row_losses(problem, logits, problem.y[index])
        loss = problem.weights[index] @ losses / problem.weights[index].sum()
        expected = torch.autograd.grad(loss, leaf)[0]
        found = problem.mean_gradient(problem.params, problem.buffers, chosen)
        torch.testing.assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "regression"])
def test_a_mini_batch_step_of_training_is_a_step_down_the_problems_gradient(kind):
    """The hand-over has the sign, the weights and the perturbation of the training."""
    classifier, X, y, weight = fitted(kind, True, trajectory="all", optimizer__weight_decay=0.1)
    problem = fitted_problem(kind, True, optimizer__weight_decay=0.1)
    states = list(classifier.replay(X, y, sample_weight=weight))
    rows = torch.as_tensor(classifier.trajectory_.schedule[3].indices)
    w = states[3].params
    gradient = problem.mean_gradient(problem.ascend(w, {}, rows, problem.rho), {}, rows)
    step = -0.1 * (gradient + problem.weight_decay * w)
    torch.testing.assert_close(states[4].params - w, step, rtol=1e-9, atol=1e-12)


EVALUATIONS = [
    ("cnn", "loss"),
    ("cnn", "margin"),
    ("cnn", lambda z, y: (z**2).sum(1)),
    ("regression", "loss"),
    ("regression", lambda prediction, y: (prediction - y) ** 4),
]


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["all", "head"])
@pytest.mark.parametrize(("kind", "evaluation"), EVALUATIONS)
def test_query_gradients_equal_autodiff(parameters, kind, evaluation):
    problem = fitted_problem(kind, options={"parameters": parameters, "batch_size": 7})
    values = evaluation_function(evaluation, problem.row_loss)
    groups = (torch.arange(12), torch.tensor([3, 20, 11]))
    queries = Queries(problem, problem.X, problem.y, values, groups)
    found = queries.directions(problem.params, problem.buffers)
    leaf = problem.params.clone().requires_grad_()
    for j, group in enumerate(groups):
        per_row = values(problem.logits(leaf, problem.buffers, problem.X[group]), problem.y[group])
        expected = torch.autograd.grad(per_row.mean(), leaf)[0]
        if problem.selected is not None:
            kept = torch.zeros_like(expected)
            kept[problem.selected] = expected[problem.selected]
            expected = kept
        torch.testing.assert_close(found[:, j], expected)
        assert queries.values(problem.params, problem.buffers)[j] == pytest.approx(
            float(per_row.mean().detach())
        )
    unit = Queries(problem, problem.X, problem.y, values, groups, normalize=True)
    norms = unit.directions(problem.params, problem.buffers).norm(dim=0)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_margin_is_the_log_odds_and_does_not_saturate():
    logits = torch.tensor([[2.0, -1.0, 0.5], [40.0, -60.0, 0.0]])
    y = torch.tensor([1, 0])
    p = logits.double().softmax(1)[torch.arange(2), y]
    expected = -torch.log(p / (1 - p))
    assert margin(logits, y)[0] == pytest.approx(float(expected[0]), rel=1e-5)
    leaf = logits.requires_grad_()
    gradient = torch.autograd.grad(margin(leaf, y).sum(), leaf)[0]
    assert torch.isfinite(gradient).all()
    assert gradient[1].tolist() == pytest.approx([-1.0, 0.0, 1.0])


def test_evaluations_of_a_regression_are_functions_of_its_predictions():
    problem = fitted_problem("regression")
    output = problem.logits(problem.params, {}, problem.X)
    found = evaluation_function("loss", problem.row_loss)(output, problem.y)
    torch.testing.assert_close(found, (output[:, 0] - problem.y) ** 2, rtol=0, atol=0)
    own = evaluation_function(lambda f, y: (f - y).abs(), problem.row_loss)(output, problem.y)
    torch.testing.assert_close(own, (output[:, 0] - problem.y).abs(), rtol=0, atol=0)
    with pytest.raises(ValueError, match='evaluation="margin" needs classes'):
        evaluation_function("margin", problem.row_loss)(output, problem.y)


def test_unknown_evaluations_are_refused():
    with pytest.raises(ValueError, match="evaluation must be one of"):
        evaluation_function("accuracy", fitted_problem("mlp").row_loss)


def test_the_classifier_is_left_alone_and_shared_with_nobody():
    classifier, X, y, _ = fitted("cnn")
    before = {name: value.clone() for name, value in classifier.module_.state_dict().items()}
    training = classifier.module_.training
    problem = problem_from_estimator(classifier, X, y)
    problem.mean_gradient(problem.params, problem.buffers)
    assert problem.module is not classifier.module_
    assert classifier.module_.training == training
    assert all(torch.equal(before[n], v) for n, v in classifier.module_.state_dict().items())


def test_auto_batch_size_is_a_rule_of_shapes():
    small, large = fitted_problem("mlp"), fitted_problem("cnn")
    assert small.rows_per_pass == fitted_problem("mlp").rows_per_pass
    assert 1 <= large.rows_per_pass <= small.rows_per_pass <= 1024


def test_an_evaluation_must_give_a_value_per_row():
    problem = fitted_problem("mlp")
    values = evaluation_function(nn.functional.cross_entropy, problem.row_loss)
    queries = Queries(problem, problem.X, problem.y, values, (torch.arange(40),))
    with pytest.raises(ValueError, match="evaluation must return one value per row"):
        queries.directions(problem.params, problem.buffers)


def wrong(logits, y):
    return (logits.argmax(1) != y).to(logits)


def detached(logits, y):
    return nn.functional.cross_entropy(logits.detach(), y, reduction="none")


@pytest.mark.parametrize("evaluation", [wrong, detached])
@pytest.mark.parametrize("groups", [(torch.arange(40),), tuple(torch.arange(3).split(1))])
@pytest.mark.parametrize("parameters", ["all", "head"])
def test_an_evaluation_must_have_a_gradient(evaluation, groups, parameters):
    problem = fitted_problem("mlp", options={"parameters": parameters})
    values = evaluation_function(evaluation, problem.row_loss)
    queries = Queries(problem, problem.X, problem.y, values, groups)
    with pytest.raises(ValueError, match=r"evaluation must return values with a gradient.*argmax"):
        queries.directions(problem.params, problem.buffers)
    assert queries.values(problem.params, problem.buffers).isfinite().all()


def test_the_margin_of_probabilities_is_that_of_their_logits():
    """NLLLoss means, as in skorch, that the module puts out probabilities."""

    class Probabilities(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(6, 3), nn.Softmax(dim=1))

    problem = fitted_problem("mlp", module=Probabilities, criterion=nn.NLLLoss)
    p = problem.logits(problem.params, {}, problem.X)
    own = p[torch.arange(40), problem.y]
    found = evaluation_function("margin", problem.row_loss)(p, problem.y)
    torch.testing.assert_close(found, -torch.log(own / (1 - own)))
    losses = problem.row_loss.per_sample(p, problem.y)
    torch.testing.assert_close(losses, -torch.log(own))


def test_batch_norm_without_running_statistics_is_refused():
    module = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match="BatchNorm1d at '1' without running statistics"):
        Problem(module=module, X=torch.zeros(4, 6), y=torch.zeros(4).long(), n_classes=3)


def test_rows_know_their_positions_among_the_rows_given():
    given = torch.arange(40) * 2 + 1
    problem = fitted_problem("mlp", True, options={"positions": given.numpy(), "n_given": 90})
    again = problem_from_another_seed(problem, 1)
    absent = torch.ones(40, dtype=torch.float64).index_fill(0, torch.tensor([3]), 0.0)
    for other in (problem, problem.in_double_precision(), problem.reweighted(absent), again):
        assert other.positions.tolist() == given.tolist()
        assert other.n_given == 90
    part = problem.part(torch.tensor([5, 2]))
    assert (part.positions.tolist(), part.n_given) == ([11, 5], 90)
    assert part.part(torch.tensor([1])).positions.tolist() == [5]


def test_the_rows_of_a_problem_are_the_rows_given_unless_told_otherwise():
    problem = fitted_problem("mlp")
    assert problem.positions is None
    assert problem.n_given is None
    part = problem.part(torch.tensor([5, 2]))
    assert (part.positions.tolist(), part.n_given) == ([5, 2], 40)


@pytest.mark.parametrize(
    "options", [{"positions": range(40)}, {"n_given": 40}, {"positions": range(3), "n_given": 40}]
)
def test_positions_are_one_for_each_row_and_come_with_their_number(options):
    with pytest.raises(ValueError, match="positions must be one for each of 40 rows"):
        fitted_problem("mlp", options=options)
