"""SAMInfluence on tasks without classes: scores against explicit sums and real retraining."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.func import functional_call, grad, jacrev
from torch.utils.data import Subset, TensorDataset

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    MislabelFilter,
    SAMInfluence,
    SAMNet,
    ValidationData,
)
from sam_attribution.methods import EKFAC, GIF, HIF, TRAK, InfluenceFunction
from sam_attribution.retraining import LeaveOneOut
from tests.retrained import Run
from tests.tasks import FEATURES, LABELS, NEXT, TASKS, TOKENS, perceptron

N_ASKED, N = 6, 24
HARD = ["tokens", "several outputs"]


def influence(task, method, **settings):
    """Scores of a task's rows against the first of them."""
    held_out = ValidationData(task.X[:N_ASKED], task.y[:N_ASKED])
    found = SAMInfluence(task.net(), method=method, validation=held_out, **settings)
    return found.fit(task.X, task.y)


class Losses:
    """Losses by hand as functions of the flat parameters of a trained net."""

    def __init__(self, task, net):
        self.module = copy.deepcopy(net.module_).eval()
        self.task, self.X, self.y = task, torch.as_tensor(task.X), torch.as_tensor(task.y)
        self.names = [name for name, _ in self.module.named_parameters()]
        self.shapes = [p.shape for p in self.module.parameters()]
        self.w = nn.utils.parameters_to_vector(self.module.parameters()).detach()

    def outputs(self, w, rows):
        parts = w.split([shape.numel() for shape in self.shapes])
        values = [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        named = dict(zip(self.names, values, strict=True))
        return functional_call(self.module, named, (self.X[rows],))

    def of(self, w, rows):
        return self.task.by_hand(self.outputs(w, rows), self.y[rows])

    def gradients(self, w, rows):
        """Of every row by itself, (n, n_params)."""
        leaf = w.clone().requires_grad_()
        return torch.stack(
            [torch.autograd.grad(self.of(leaf, row).sum(), leaf)[0] for row in rows.split(1)]
        )

    def asked(self, w):
        """Gradient of the mean loss of the rows asked about."""
        return self.gradients(w, torch.arange(N_ASKED)).mean(0)


def assert_near(found, expected):
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-8, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_gif_is_the_sum_over_steps(name):
    task = TASKS[name]
    found = influence(task, GIF(n_checkpoints=None))
    losses, recorded = Losses(task, found.estimator_), found.estimator_.trajectory_
    v, expected = losses.asked(losses.w), torch.zeros(N, dtype=torch.float64)
    for state, step in zip(recorded.states, recorded.schedule, strict=False):
        rows = torch.as_tensor(step.indices)
        g = losses.gradients(state.params, rows).mean(0)
        at_ascent = losses.gradients(state.params + 0.1 * g / g.norm(), rows)
        expected[rows] += step.rates[0] / len(rows) * at_ascent @ v
    assert_near(found.scores_, expected)
    own = found.self_influence()
    assert own.shape == (N,)
    assert (own[found.scores_ != 0] > 0).mean() > 0.9


@pytest.mark.parametrize("name", HARD)
def test_hif_is_the_derivative_of_the_stationary_point(name):
    """Of ``F(w, s) = 0``, F the SAM gradient with row weights s: ``v' dF/dw^-1 dF/ds``."""
    task = TASKS[name]
    found = influence(task, HIF(damping=0.5))
    losses, every = Losses(task, found.estimator_), torch.arange(N)

    def mean_loss(w, s):
        return s @ losses.of(w, every) / N

    def sam_gradient(w, s):
        g = grad(mean_loss)(w, s)
        return grad(mean_loss)(w + 0.1 * g / g.norm(), s)

    ones = torch.ones(N, dtype=torch.float64)
    J, by_row = jacrev(sam_gradient, (0, 1))(losses.w, ones)
    damped = J + 0.5 * torch.eye(len(J), dtype=J.dtype)
    assert_near(found.scores_, losses.asked(losses.w) @ torch.linalg.solve(damped, by_row))


@pytest.mark.slow
def test_gauss_newton_scores_take_the_second_derivative_of_the_loss_by_hand():
    task, ridge = TASKS["tokens"], 0.3
    found = influence(task, InfluenceFunction(damping=ridge, curvature="ggn")).scores_
    trak = influence(task, TRAK(proj_dim=None, ridge=ridge * N, weighted=True))
    losses, every = Losses(task, trak.estimator_), torch.arange(N)
    ggn = ridge * torch.eye(len(losses.w), dtype=torch.float64)
    for row in every.split(1):
        z, J = losses.outputs(losses.w, row), jacrev(losses.outputs)(losses.w, row)
        of_row = partial(task.by_hand, y=losses.y[row])
        H = torch.autograd.functional.hessian(lambda z, of_row=of_row: of_row(z).sum(), z)
        J = J.flatten(0, -2)
        ggn += J.T @ H.reshape(len(J), len(J)) @ J / N
    rows = losses.gradients(losses.w, every) / N
    expected = rows @ torch.linalg.solve(ggn, losses.asked(losses.w))
    assert_near(found, expected)
    assert_near(trak.scores_, expected)


def test_a_loss_that_is_not_convex_in_its_outputs_is_named():
    with pytest.raises(ValueError, match="criterion gaussian is not convex"):
        influence(TASKS["several outputs"], "ekfac")


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_leaving_out_and_unrolling_are_real_retraining(name):
    task = TASKS[name]
    found = influence(task, "loo")
    net = found.estimator_
    run = Run(
        copy.deepcopy(net.module), torch.as_tensor(task.X), torch.as_tensor(task.y),
        net.trajectory_, lambda w, g: 0.1 * g / g.norm(), torch.optim.SGD, {},
        loss=task.by_hand, asked=task.by_hand, share=lambda y: torch.ones(len(y)),
    )  # fmt: skip
    asked = torch.as_tensor(task.X[:N_ASKED]), torch.as_tensor(task.y[:N_ASKED])
    ones = torch.ones(N, dtype=torch.float64)
    before, unrolled = run.value(ones, *asked), influence(task, "unrolled").scores_
    for row in (0, 3, 11):
        weights = ones.clone()
        weights[row] = 0.0
        assert found.scores_[row] == pytest.approx(run.value(weights, *asked) - before, abs=1e-10)
        assert unrolled[row] == pytest.approx(-run.derivative(row, *asked), rel=1e-5, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gif", HIF(damping=0.5), EKFAC(damping=0.5)], ids=repr)
def test_scores_do_not_depend_on_the_length_of_the_padding(method):
    task = TASKS["tokens"]
    padded = task._replace(
        X=np.pad(TOKENS, ((0, 0), (0, 3))), y=np.pad(NEXT, ((0, 0), (0, 3)), constant_values=-100)
    )
    short, long = influence(task, method), influence(padded, method)
    assert np.ptp(short.scores_) > 0
    if not isinstance(method, EKFAC):  # an approximation that counts positions
        np.testing.assert_allclose(long.scores_, short.scores_, rtol=1e-9, atol=1e-13)
    assert abs(short.scores_[3]) < 1e-12  # a row of padding alone


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_a_network_trained_elsewhere_has_the_same_scores(name):
    task = TASKS[name]
    net = task.net().fit(task.X, task.y)
    settings = {"criterion": task.criterion, "random_state": 0}
    adopted = SAMNet.from_module(net.module_, task.X, task.y, rho=0.1, **settings)
    held_out = ValidationData(task.X[:N_ASKED], task.y[:N_ASKED])
    method = HIF(damping=0.5)
    found = [
        SAMInfluence(estimator, method=method, validation=held_out).fit(task.X, task.y).scores_
        for estimator in (FrozenEstimator(net), adopted)
    ]
    np.testing.assert_allclose(*found, rtol=1e-10)


def absolute(output, y):
    return (output["mean"] - y).abs().sum(1)


def test_an_evaluation_gets_the_output_as_the_module_gave_it():
    task = TASKS["several outputs"]
    found = influence(task, "grad-dot", evaluation=absolute)
    losses = Losses(task, found.estimator_)
    asked = Losses(task._replace(by_hand=absolute), found.estimator_).asked(losses.w)
    expected = losses.gradients(losses.w, torch.arange(N)) @ asked / N
    assert_near(found.scores_, expected)


@pytest.mark.slow
def test_what_needs_no_classes_works():
    task = TASKS["several labels"]
    net = task.net(trajectory=3)
    found = SAMInfluence(net, validation=KFold(3), random_state=0)
    found.fit(task.X, task.y, sample_weight=np.linspace(0.5, 2, N))
    assert np.isfinite(found.scores_).all()
    assert "validation_loss" in found.diagnostics_
    found = SAMInfluence(net, method="tracin", random_state=0).fit(task.X, task.y)
    known = ~np.isnan(found.scores_)
    again = found.score_samples(task.X[known], task.y[known])
    np.testing.assert_allclose(again, found.scores_[known], rtol=1e-8)
    table = found.explain(task.X[:2], task.y[:2], k=1)
    assert "label" not in table
    scores = found.attribute(task.X[:2], task.y[:2])
    ends = np.stack([np.nanmin(scores, 1), np.nanmax(scores, 1)], axis=1)
    np.testing.assert_allclose(table["score"], ends.ravel())
    edited = found.remove([int(np.flatnonzero(known)[0])])
    assert edited.predict(task.X).shape == (N, 3)
    piped = make_pipeline(StandardScaler(), net)
    held_out = ValidationData(task.X[:5], task.y[:5])
    assert SAMInfluence(piped, validation=held_out).fit(task.X, task.y).scores_.shape == (N,)


def contrastive(output, y):
    return -(output @ output.T).log_softmax(1).diagonal()


def standardised(output, y):
    return ((output - output.mean(0)) / output.std(0) - y).square().mean(1)


class NeverTrained(nn.Module):
    """A module that says when it is called in training mode."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, X):
        if self.training:
            raise AssertionError("trained")
        return self.module(X)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (contrastive, "criterion contrastive gives a row another loss alone"),
        (standardised, "criterion standardised gives a row another loss alone"),
        (partial(contrastive), "criterion contrastive gives a row another loss alone"),
    ],
)
def test_a_loss_that_couples_rows_is_refused_before_training(criterion, message):
    net = SAMNet(NeverTrained(perceptron(3)), criterion=criterion, random_state=0, lr=0.0)
    with pytest.raises(ValueError, match=message):
        SAMInfluence(net, random_state=0).fit(FEATURES, FEATURES[:, :3])


@pytest.mark.parametrize("method", ["ekfac", "trak"])
def test_too_many_outputs_are_refused_before_training(method):
    y = np.zeros((N, 1100))
    net = SAMNet(NeverTrained(perceptron(1100)), random_state=0)
    with pytest.raises(ValueError, match=r'1100 numbers for a row.*at most 1024. Use "gif"'):
        SAMInfluence(net, method=method, random_state=0).fit(FEATURES, y)


@pytest.mark.parametrize(
    ("judge", "data", "message"),
    [
        (partial(SAMInfluence, evaluation="margin"), (), "'margin' needs classes, which a SAMNet"),
        (partial(SAMInfluence, aggregate="worst-class"), (), "classes, which a SAMNet does not"),
        (SAMInfluence, (FEATURES, None), "requires y to be passed"),
        (SAMInfluence, (FEATURES, LABELS[:5]), "inconsistent numbers of samples"),
        (SAMInfluence, (FEATURES, LABELS + np.nan), "Input y contains NaN"),
        (
            partial(SAMInfluence, validation=ValidationData(FEATURES, LABELS[:, :2])), (),
            r"targets of shape \(2,\), those given to fit have \(3,\)",
        ),
        (MislabelDetector, (FEATURES, LABELS[:, 0]), "a classifier or a regressor, got a SAMNet"),
        (FilteredClassifier, (FEATURES, LABELS[:, 0]), "estimator must use a classifier"),
    ],
)  # fmt: skip
def test_what_needs_classes_or_other_targets_is_named(judge, data, message):
    net = SAMNet(criterion=nn.BCEWithLogitsLoss, max_epochs=1, random_state=0)
    with pytest.raises(ValueError, match=message):
        judge(net).fit(*data or (FEATURES, LABELS))


def test_filters_and_tables_of_labels_are_refused():
    net = SAMNet(criterion=nn.BCEWithLogitsLoss, max_epochs=1, random_state=0)
    found = SAMInfluence(net, random_state=0)
    with pytest.raises(ValueError, match="scorer must use a classifier"):
        MislabelFilter(found).fit_resample(FEATURES, LABELS[:, 0])
    found.fit(FEATURES, LABELS)
    for name in ("transform", "suggest_labels", "explain_errors", "classes_"):
        assert not hasattr(found, name)
    with pytest.raises(ValueError, match="y is needed to score rows for a SAMNet"):
        found.score_samples(FEATURES)


@pytest.mark.parametrize("name", ["tokens", "pixels"])
def test_scores_per_token_are_of_its_own_loss(name):
    task = TASKS[name]
    found = influence(task, "grad-dot")
    each = found.attribute(task.X[:4], task.y[:4], per="token")
    assert each.shape == (*task.y[:4].shape, N)
    ignored = (task.y[:4] == -100) | (task.y[:4] == 255)
    assert np.isnan(each[ignored]).all()
    losses = Losses(task, found.estimator_)
    rows = losses.gradients(losses.w, torch.arange(N)) / N
    place = tuple(np.argwhere(~ignored)[1])
    losses.y = losses.y.clone()
    others = torch.ones_like(losses.y[0], dtype=torch.bool)
    others[place[1:]] = False
    losses.y[place[0]][others] = -100 if name == "tokens" else 255
    v = losses.gradients(losses.w, torch.tensor([place[0]]))[0]
    assert_near(each[place], rows @ v)
    if name == "tokens":  # the mean over the tokens of a row is the row's loss
        whole = found.attribute(task.X[:3], task.y[:3])
        np.testing.assert_allclose(np.nanmean(each[:3], axis=1), whole, rtol=1e-8, atol=1e-14)


def test_queries_of_padding_alone_have_no_tokens():
    task = TASKS["tokens"]
    found, y = influence(task, "grad-dot"), np.full_like(task.y[:2], -100)
    with pytest.raises(ValueError, match="y_query holds -100 alone, which the criterion ignores"):
        found.attribute(task.X[:2], y, per="token")


@pytest.mark.parametrize("name", ["tokens", "pixels"])
def test_rows_without_any_target_are_no_question(name):
    task, ignored = TASKS[name], -100 if name == "tokens" else 255
    nothing = np.full_like(task.y, ignored)
    found = influence(task, "grad-dot")
    with pytest.raises(ValueError, match=f"y_query holds {ignored} alone, which criterion"):
        found.attribute(task.X[:2], nothing[:2])
    asked = SAMInfluence(found.estimator, validation=ValidationData(task.X, nothing))
    with pytest.raises(ValueError, match=f"y of validation holds {ignored} alone, which criterion"):
        asked.fit(task.X, task.y)


@pytest.mark.parametrize("name", ["several labels", "label smoothing", "several outputs"])
def test_tokens_that_are_not_there_are_named(name):
    task = TASKS[name]
    found = influence(task, "grad-dot")
    with pytest.raises(ValueError, match=r'per="token" needs a class for every token'):
        found.attribute(task.X[:4], task.y[:4], per="token")
    with pytest.raises(ValueError, match="'per' parameter of attribute must be"):
        found.attribute(task.X[:4], task.y[:4], per="word")


@pytest.mark.slow
@pytest.mark.parametrize("m_sharpness", [None, 3])
@pytest.mark.parametrize("name", HARD)
def test_retraining_by_the_net_itself_is_that_by_pure_steps(name, m_sharpness):
    task, found = TASKS[name], []
    for real_loop in (False, True):
        method = LeaveOneOut(rows=[0, 3, 11], real_loop=real_loop)
        held_out = ValidationData(task.X[:N_ASKED], task.y[:N_ASKED])
        net = task.net(m_sharpness=m_sharpness)
        influence_ = SAMInfluence(net, method=method, validation=held_out)
        weight = np.linspace(0.5, 2, N)
        found.append(influence_.fit(task.X, task.y, sample_weight=weight).scores_)
    assert np.isnan(found[0]).sum() == N - 3
    np.testing.assert_allclose(*found, rtol=1e-8, atol=1e-13)


def test_datasets_and_dicts_have_the_scores_of_arrays():
    task = TASKS["soft labels"]
    pairs = TensorDataset(torch.as_tensor(task.X), torch.as_tensor(task.y))
    held_out = ValidationData(Subset(pairs, range(N_ASKED)))
    found = SAMInfluence(task.net(), method="gif", validation=held_out).fit(pairs)
    expected = influence(task, "gif")
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-12)
    of_queries = found.attribute(Subset(pairs, [1, 5]))
    expected = expected.attribute(task.X[[1, 5]], task.y[[1, 5]])
    np.testing.assert_allclose(of_queries, expected, rtol=1e-9)


def test_tokens_of_a_dict_are_asked_about_one_by_one():
    task = TASKS["tokens"]
    named = {"tokens": task.X}
    held_out = ValidationData({"tokens": task.X[:N_ASKED]}, task.y[:N_ASKED])
    found = SAMInfluence(task.net(), method="grad-dot", validation=held_out).fit(named, task.y)
    expected = influence(task, "grad-dot")
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-12)
    each = found.attribute({"tokens": task.X[:2]}, task.y[:2], per="token")
    expected = expected.attribute(task.X[:2], task.y[:2], per="token")
    np.testing.assert_allclose(each, expected, rtol=1e-9)


def test_a_class_that_is_met_in_the_validation_rows_alone_is_named():
    task = TASKS["label smoothing"]
    held_out = ValidationData(task.X, task.y + 1)
    influence = SAMInfluence(task.net(max_epochs=1), method="grad-dot", validation=held_out)
    with pytest.raises(ValueError, match="finds a class in y that the output does not have"):
        influence.fit(task.X, task.y)
