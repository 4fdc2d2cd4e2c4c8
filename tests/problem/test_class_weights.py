"""Class weights in the criterion, against torch's own mean and gradients row by row."""

from functools import cache

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.func import functional_call

from sam_attribution import SAMInfluence
from sam_attribution.curvature import GaussNewton, Hessian
from sam_attribution.methods import GIF
from sam_attribution.probes import Probe, row_scores, training_scores
from sam_attribution.problem import Queries, evaluation_function, problem_from_estimator
from sam_attribution.training import MLP, SAMClassifier
from tests.models import tabular

X, y, weight = tabular()
rows, codes, a = torch.tensor(X), torch.tensor(y), torch.tensor(weight)
V = torch.tensor([0.3, 2.0, 1.1], dtype=torch.float64)


class Probabilities(nn.Sequential):
    """What skorch wants for NLLLoss."""

    def __init__(self, n_features, n_classes):
        super().__init__(nn.Linear(n_features, n_classes), nn.Softmax(dim=1))


CRITERIA = {
    "cross-entropy": (MLP, {"criterion": nn.CrossEntropyLoss}),
    "smoothed": (MLP, {"criterion": nn.CrossEntropyLoss, "criterion__label_smoothing": 0.3}),
    "likelihood": (Probabilities, {"criterion": nn.NLLLoss}),
}


@cache
def fitted(name, sample_weight, rho=0.2):
    module, settings = CRITERIA[name]
    clf = SAMClassifier(
        module, **settings, criterion__weight=V, rho=rho, dtype="float64", max_epochs=3,
        batch_size=9, random_state=0, trajectory="all",
    )  # fmt: skip
    return clf.fit(X, y, sample_weight=weight if sample_weight else None)


@cache
def problem_of(name, sample_weight):
    clf = fitted(name, sample_weight)
    return problem_from_estimator(clf, X, y, weight if sample_weight else None, batch_size=7)


def losses_of(name, output, labels, class_weight=V):
    """Numerators of torch's mean, written out; `output` is what the module puts out."""
    if name == "likelihood":
        logp = torch.log(output + torch.finfo(output.dtype).eps)
    else:
        logp = output.log_softmax(1)
    smoothing = 0.3 if name == "smoothed" else 0.0
    own = -class_weight[labels] * logp[torch.arange(len(labels)), labels]
    return (1 - smoothing) * own - smoothing * (class_weight * logp).mean(1)


def row_gradients(name, problem, point):
    """Gradients of every row's loss for every label, one backward pass each: (n, C, P)."""
    leaf = point.detach().clone().requires_grad_()
    table = []
    for row in rows:
        output = functional_call(problem.module, problem.layout.unflatten(leaf), (row[None],))
        losses = [losses_of(name, output, torch.tensor([c]))[0] for c in range(3)]
        table.append(
            torch.stack([torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in losses])
        )
    return torch.stack(table)


@pytest.mark.parametrize("name", CRITERIA)
def test_without_radius_training_is_plain_skorch(name):
    clf = fitted(name, False, rho=0.0)
    module, settings = CRITERIA[name]
    net = NeuralNetClassifier(
        module(6, 3).double(), **settings, criterion__weight=V, lr=0.1, train_split=None
    ).initialize()
    start = clf.trajectory_.states[0].params
    nn.utils.vector_to_parameters(start, net.module_.parameters())
    for step in clf.trajectory_.schedule:
        net.train_step([rows[step.indices], codes[step.indices]])
    trained = nn.utils.parameters_to_vector(net.module_.parameters())
    assert torch.equal(clf.trajectory_.states[-1].params, trained)


def batch_mean(name, output, batch, sample_weight):
    own = a[batch] if sample_weight else torch.ones(len(batch), dtype=torch.float64)
    return (own * losses_of(name, output, codes[batch])).sum() / (own * V[codes[batch]]).sum()


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [False, True])
@pytest.mark.parametrize("name", CRITERIA)
def test_training_equals_a_loop_by_hand(name, sample_weight):
    clf = fitted(name, sample_weight)
    module = clf.module_
    w = clf.trajectory_.states[0].params
    layout = problem_of(name, sample_weight).layout
    for step in clf.trajectory_.schedule:
        batch = torch.as_tensor(step.indices)

        def gradient(point, batch=batch):
            leaf = point.clone().requires_grad_()
            output = functional_call(module, layout.unflatten(leaf), (rows[batch],))
            return torch.autograd.grad(batch_mean(name, output, batch, sample_weight), leaf)[0]

        g = gradient(w)
        w = w - 0.1 * gradient(w + 0.2 * g / g.norm())
    torch.testing.assert_close(clf.trajectory_.states[-1].params, w, rtol=1e-10, atol=1e-12)


def test_torchs_own_mean_is_the_one_written_out():
    logits = torch.randn(40, 3, dtype=torch.float64)
    for name, smoothing in (("cross-entropy", 0.0), ("smoothed", 0.3)):
        criterion = nn.CrossEntropyLoss(V, label_smoothing=smoothing)
        expected = batch_mean(name, logits, torch.arange(40), sample_weight=False)
        torch.testing.assert_close(criterion(logits, codes), expected)


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [False, True])
@pytest.mark.parametrize("name", CRITERIA)
def test_scores_equal_gradients_row_by_row(name, sample_weight):
    """Given labels and those the rows might have carried; the denominator is the recorded one."""
    clf, problem = fitted(name, sample_weight), problem_of(name, sample_weight)
    own = a if sample_weight else torch.ones_like(a)
    denominators = own * V[codes]
    direction = torch.randn(problem.layout.size, 1, dtype=torch.float64)
    gradients = row_gradients(name, problem, problem.params) @ direction
    probe = Probe(problem.params, direction, problem.buffers)
    expected = own[:, None, None] * gradients / denominators.sum()
    found = training_scores(problem, [probe])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(
        row_scores(problem, [probe], rows), gradients / denominators.sum(), rtol=1e-10, atol=1e-13
    )
    batch = torch.as_tensor(clf.trajectory_.schedule[4].indices)
    of_batch = Probe(
        problem.params, direction, problem.buffers, rows=batch, rows_weight=problem.weight_of(batch)
    )
    expected = torch.zeros_like(expected)
    expected[batch] = (own[:, None, None] * gradients)[batch] / denominators[batch].sum()
    found = training_scores(problem, [of_batch])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [False, True])
@pytest.mark.parametrize("name", CRITERIA)
def test_gif_at_every_step_is_the_sum_over_the_training(name, sample_weight):
    clf, problem = fitted(name, sample_weight), problem_of(name, sample_weight)
    own = a if sample_weight else torch.ones_like(a)
    queries = Queries(problem, -rows[:8], codes[:8], problem.row_loss.evaluated, (torch.arange(8),))
    v = queries.directions(problem.params, problem.buffers)
    expected = torch.zeros(40, 3, 1, dtype=torch.float64)
    for state, step in zip(clf.trajectory_.states, clf.trajectory_.schedule, strict=False):
        batch = torch.as_tensor(step.indices)
        leaf = state.params.clone().requires_grad_()
        output = functional_call(problem.module, problem.layout.unflatten(leaf), (rows[batch],))
        g = torch.autograd.grad(batch_mean(name, output, batch, sample_weight), leaf)[0]
        gradients = row_gradients(name, problem, state.params + 0.2 * g / g.norm())[batch] @ v
        share = own[batch] / (own * V[codes])[batch].sum()
        expected[batch] += 0.1 * share[:, None, None] * gradients
    found = training_scores(problem, GIF(n_checkpoints=None).prepare(problem).probes(queries))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [False, True])
@pytest.mark.parametrize("name", CRITERIA)
def test_curvature_is_that_of_torchs_mean(name, sample_weight):
    problem = problem_of(name, sample_weight)

    def output(w):
        return functional_call(problem.module, problem.layout.unflatten(w), (rows,))

    def mean(z):
        return batch_mean(name, z, torch.arange(40), sample_weight)

    point = problem.params
    expected = torch.autograd.functional.hessian(lambda w: mean(output(w)), point)
    v = torch.randn_like(point)
    torch.testing.assert_close(Hessian(problem, point).matvec(v), expected @ v)
    jacobian = torch.autograd.functional.jacobian(output, point).flatten(0, 1)
    inner = torch.autograd.functional.hessian(mean, output(point).detach()).reshape(120, 120)
    ggn = jacobian.T @ inner @ jacobian
    torch.testing.assert_close(GaussNewton(problem, point).matvec(v), ggn @ v)


@pytest.mark.parametrize("name", CRITERIA)
def test_validation_rows_count_alike(name):
    problem = problem_of(name, False)
    output = problem.logits(problem.params, problem.buffers, rows)
    found = evaluation_function("loss", problem.row_loss)(output, codes)
    torch.testing.assert_close(found, losses_of(name, output, codes, torch.ones_like(V)))
    assert problem.row_loss.class_weight is not None  # left where it was


def test_end_to_end_with_a_clone_of_the_classifier():
    clf = SAMClassifier(
        dtype="float64", criterion__weight=V, max_epochs=3, random_state=0, batch_size=9
    )
    settings = {"method": "gif", "validation": 0.25, "random_state": 0}
    influence = SAMInfluence(clf, **settings).fit(X, y)
    scored = np.isfinite(influence.scores_)
    assert scored.sum() == 30
    found = influence.score_samples(X, y)[scored]
    np.testing.assert_allclose(found, influence.scores_[scored], rtol=1e-9, atol=1e-13)
    plain = SAMInfluence(clf.set_params(criterion__weight=None), **settings)
    assert np.abs(plain.fit(X, y).scores_ - influence.scores_)[scored].max() > 1e-4
