"""SAMInfluence.remove by the end of the recorded training, taken again without the rows."""

import copy
import pickle
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.optim.lr_scheduler import StepLR

from sam_attribution import SAMInfluence, SAMNet, SAMRegressor
from sam_attribution.editing._report import rises
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import HIF
from sam_attribution.problem import problem_from_estimator
from sam_attribution.retraining import recorded_loop
from sam_attribution.training import SAMClassifier
from sam_attribution.validation_data import ValidationData
from tests.influence.test_remove import (
    REMOVED,
    SMALL,
    X,
    X_val,
    influence,
    weights,
    y,
    y_val,
)
from tests.methods.test_unrolled import X as ROWS
from tests.methods.test_unrolled import network, trained
from tests.training.test_foreign_optimizers import SignDescent


class FromStep:
    """Numbers of the rows of a plain run, read so often in each step: others from a step on."""

    def __init__(self, first, before, then, *, reads=2):
        self.first, self.before, self.then, self.reads = first * reads, before, then, 0

    def __getitem__(self, rows):
        self.reads += 1
        return (self.before if self.reads <= self.first else self.then)[rows]


def without(first, removed):
    """Row weights that are 0 for the removed rows from a step on."""
    weights = torch.ones(len(ROWS), dtype=torch.float64)
    weights[removed] = 0
    return FromStep(first, torch.ones_like(weights), weights)


def flat(module):
    return parameters_to_vector(module.parameters()).detach()


def falling(recorded, first, factor):
    """The recorded run with rates that fall in a line from `factor` times their mean to 0."""
    rates = np.array([step.rates[0] for step in recorded.schedule])
    n_steps = len(rates)
    falls = np.arange(n_steps - first, 0, -1) / (n_steps - first)
    rates[first:] = factor * rates.mean() * falls
    again = copy.copy(recorded)
    again.schedule = [
        replace(step, rates=(float(rate),))
        for step, rate in zip(recorded.schedule, rates, strict=True)
    ]
    return again


KINDS = {
    "batch norm": (network(norm=True), "momentum", {}, 1),
    "dropout": (network(dropout=True), "adamw", {"lr_factor": 6}, 6),
    "recorded rates": (network(), "momentum", {"lr_factor": None}, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_training_is_repeated_without_the_rows(kind):
    """Plain torch goes through the whole run, with weight 0 from the recorded state on."""
    module, optimizer, options, factor = KINDS[kind]
    schedule = LRScheduler(StepLR, step_size=3, gamma=0.1)
    fitted, run = trained(module, optimizer, max_epochs=5, trajectory=10, callbacks=[schedule])
    edited = fitted.remove([1, 5], how="replay", share=0.25, **options)
    steps = run.recorded.n_steps
    first = round(steps * (1 - edited.edit_["share"]))
    assert first == max(s.step for s in run.recorded.states if s.step <= 0.75 * steps)
    if factor is not None:
        run.recorded = falling(run.recorded, first, factor)
    module = run.trained(without(first, [1, 5]))
    torch.testing.assert_close(weights(edited), flat(module), rtol=1e-10, atol=1e-12)
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(dict(edited.module_.named_buffers())[name], buffer)
    assert (weights(edited) - weights(fitted.estimator_)).norm() > 1e-4


@pytest.mark.slow
def test_the_whole_of_it_is_training_again():
    """By the net's own loop, and by steps as pure functions where it is verified."""
    fitted, run = trained(network(norm=True, dropout=True), "adam")
    edited = fitted.remove([1, 5], how="retrain", verify=2)
    torch.testing.assert_close(
        weights(edited), flat(run.trained(without(0, [1, 5]))), rtol=1e-10, atol=1e-12
    )
    table = edited.verification_
    np.testing.assert_allclose(table[["cosine", "length_ratio"]], 1, atol=1e-7)
    for name in ("rise", "accuracy", "removed_loss"):
        np.testing.assert_allclose(
            table[f"{name}_edited"], table[f"{name}_retrained"], rtol=1e-8, atol=1e-12
        )
    assert edited.edit_["share"] == 1


@pytest.mark.slow
def test_every_removed_row_is_in_a_repeated_step():
    """The last tenth of three epochs holds a third of the rows."""
    fitted = influence().fit(X, y)
    recorded = fitted.estimator_.trajectory_
    for row in range(0, 60, 7):
        report = fitted.remove([row]).edit_
        last = max(n for n, step in enumerate(recorded.schedule) if row in step.indices)
        begin = min(last, recorded.n_steps - recorded.n_steps // 10)
        first = max(s.step for s in recorded.states if s.step <= begin)
        assert report["how"] == "replay"
        assert report["share"] == (recorded.n_steps - first) / recorded.n_steps
        assert report["step_length"] > 0


class ClipLate(Callback):
    """Clips values, harder in every epoch: it reads the history, and the module's batches of it."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        limit = 0.3 / (len(net.history) + len(net.history[-1, "batches"]) / 10)
        for _, parameter in named_parameters:
            parameter.grad.clamp_(-limit, limit)


@pytest.mark.parametrize(
    "settings",
    [
        {"callbacks": [("clip", ClipLate())]},
        {"optimizer": SignDescent, "lr": 0.01},
    ],
)
def test_a_run_goes_on_from_the_middle_of_an_epoch_to_the_bit(settings):
    net = SAMClassifier(**SMALL | settings | {"trajectory": "all"}).fit(X, y)
    problem = problem_from_estimator(net, X, y)
    loop = recorded_loop(problem, 11)
    assert loop.n_steps == net.trajectory_.n_steps - 11
    states = loop.states(torch.ones(60), [0, 4, loop.n_steps])
    for state, number in zip(states, (11, 15, net.trajectory_.n_steps), strict=True):
        assert torch.equal(state.params[0], net.trajectory_.nearest(number).params)
    edited = influence("grad-dot", estimator=FrozenEstimator(net)).fit(X, y).remove(REMOVED)
    assert edited.edit_["how"] == "replay"


@pytest.mark.slow
def test_what_is_reported_can_be_computed_by_hand():
    fitted = influence("unrolled").fit(X, y)
    edited = fitted.remove(REMOVED)
    net, report = fitted.estimator_, edited.edit_
    loss = nn.functional.cross_entropy
    z = [n.module_.eval()(torch.tensor(X)).detach() for n in (net, edited)]
    z_val = [n.module_.eval()(torch.tensor(X_val)).detach() for n in (net, edited)]
    labels, labels_val = torch.tensor(y), torch.tensor(y_val)
    for k, end in enumerate(("", "_after")):
        found = loss(z[k][REMOVED], labels[REMOVED])
        assert report[f"removed_loss{end}"] == pytest.approx(float(found))
        assert report[f"validation_loss{end}"] == pytest.approx(float(loss(z_val[k], labels_val)))
        right = (z_val[k].argmax(1) == labels_val).double().mean()
        assert report[f"accuracy{end}"] == pytest.approx(float(right))
    of_class = [z_val[1][labels_val == c] for c in z[1][REMOVED].argmax(1)]
    pairs = zip(of_class, labels[REMOVED], strict=True)
    like = [float(loss(each, label.repeat(len(each)))) for each, label in pairs]
    assert report["unseen_loss"] == pytest.approx(np.mean(like))
    assert report["rise"] == pytest.approx(report["validation_loss_after"] - report["value"])
    assert report["predicted_rise"] == pytest.approx(fitted.scores_[REMOVED].sum())
    assert report["n_removed"] == 3
    assert report["seconds"] > 0
    assert "nonlinearity" not in report


def test_nothing_of_the_fitted_model_is_changed():
    fitted = influence(
        "grad-dot", estimator=make_pipeline(StandardScaler(), SAMClassifier(**SMALL))
    )
    net = fitted.fit(X, y).estimator_[-1]
    before, random_state = pickle.dumps(net.module_.state_dict()), torch.get_rng_state()
    history, numbers = copy.deepcopy(net.history), np.random.get_state()[1].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = fitted.remove(REMOVED)
    assert pickle.dumps(net.module_.state_dict()) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert net.history == history
    np.testing.assert_array_equal(
        edited.predict(X[:5]), pickle.loads(pickle.dumps(edited)).predict(X[:5])
    )
    assert np.abs(edited.predict_proba(X) - fitted.estimator_.predict_proba(X)).max() > 1e-6
    with pytest.raises(ValueError, match=r"SAMInfluence edited the wei.* this model as after="):
        influence(estimator=FrozenEstimator(edited)).fit(X, y).remove([0])


def test_a_regressor_is_edited_by_any_method():
    estimator = SAMRegressor(**SMALL, lr=0.01)
    fitted = SAMInfluence(estimator, method="grad-dot", random_state=0).fit(X, X[:, 0])
    report = fitted.remove(np.flatnonzero(~np.isnan(fitted.scores_))[:3]).edit_
    assert report["how"] == "replay"
    assert report["unseen_loss"] == report["validation_loss_after"]
    assert "accuracy" not in report


class Counting(SAMClassifier):
    """Takes ever smaller steps by a number of its own, which no state holds."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.taken = 0

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.taken += 1
        for _, parameter in named_parameters:
            parameter.grad.div_(self.taken)


@pytest.mark.slow
def test_steps_that_are_not_repeated_from_the_middle_are_named():
    estimator = Counting(**SMALL)
    fitted = influence(HIF("fast", damping=0.5), estimator=estimator).fit(X, y)
    with pytest.raises(ValueError, match=r"does not reach the state recorded at step "):
        fitted.remove(REMOVED, how="replay")
    assert fitted.remove(REMOVED, how="retrain").edit_["share"] == 1
    with pytest.warns(AttributionWarning, match="cannot be repeated: training rep"):
        assert fitted.remove(REMOVED).edit_["how"] == "linear"


class Drawing(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, X):
        return self.module(X) * (1 + 0.1 * self.training * np.random.rand())


def test_a_module_with_a_random_stream_of_its_own_is_named():
    module = Drawing(nn.Linear(X.shape[1], 3))
    fitted = influence("grad-dot", estimator=SAMClassifier(module, **SMALL)).fit(X, y)
    with pytest.raises(ValueError, match="draws from a random stream of its own"):
        fitted.remove(REMOVED, how="replay")


@pytest.mark.slow
def test_without_a_recorded_run_the_edit_is_linear_and_says_so():
    unrecorded = SAMClassifier(**SMALL, trajectory=None)
    fitted = influence(HIF("fast", damping=0.5), estimator=unrecorded).fit(X, y)
    with pytest.warns(AttributionWarning, match=r"the edit is a linear step by method=HIF"):
        assert fitted.remove(REMOVED).edit_["how"] == "linear"
    for how in ("replay", "retrain"):
        with pytest.raises(ValueError, match="fitted with trajectory=None"):
            fitted.remove(REMOVED, how=how)
    fitted = influence("grad-dot", estimator=unrecorded).fit(X, y)
    with pytest.raises(ValueError, match="fitted with trajectory=None"):
        fitted.remove(REMOVED)


def test_rates_that_are_too_large_are_named():
    fitted = influence("grad-dot").fit(X, y)
    said = r"is (nan|inf) at step .* lr_factor=1e\+30: pass a smaller lr_factor"
    with pytest.raises(ValueError, match=said):
        fitted.remove(REMOVED, lr_factor=1e30, share=0.9)
    last = fitted.estimator_.trajectory_.schedule[-1].indices[:1]  # no step after it that would see
    with pytest.raises(ValueError, match=r"outputs are not finite\. .* pass a smaller lr_factor"):
        fitted.relabel(last, y[last], lr_factor=1e308, share=0.01)


class OwnLoss(SAMClassifier):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return nn.functional.cross_entropy(y_pred, y_true)


def test_rates_are_not_blamed_for_what_they_have_no_part_in():
    fitted = influence("grad-dot", estimator=OwnLoss(**SMALL)).fit(X, y)
    with pytest.raises(ValueError, match=r"super\(\)\.get_loss\(\.\.\.\) for the loss\.$"):
        fitted.remove(REMOVED)


@pytest.mark.parametrize(
    ("n_classes", "losses", "expected"),
    [
        (3, (0.001, 0.0013), False),
        (3, (0.03, 0.041), True),
        (3, (1.0, 1.2), False),
        (None, (1e-6, 2e-6), True),
        (None, (-1.0, -0.9), False),
    ],
)
def test_a_loss_near_0_does_not_rise_by_a_quarter_of_itself(n_classes, losses, expected):
    """Nats have a size of their own; the loss of a regressor has that of its targets."""
    assert rises(SimpleNamespace(n_classes=n_classes), *losses) == expected


def test_an_edit_that_makes_the_model_worse_says_so():
    fitted = influence("grad-dot").fit(X, y)
    said = r"validation loss rose from 1\.\d* to .* with lr_factor=100.* lr_factor=None, which"
    with pytest.warns(AttributionWarning, match=said):
        fitted.remove(REMOVED, lr_factor=100)
    with pytest.warns(AttributionWarning, match=said):
        fitted.relabel(REMOVED, y[REMOVED], lr_factor=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.remove(REMOVED, lr_factor=None)


@pytest.mark.parametrize(
    ("name", "value"), [("how", "again"), ("share", 0), ("share", 1.1), ("lr_factor", 0)]
)
def test_arguments_of_another_kind_are_named(name, value):
    with pytest.raises(ValueError, match=f"The {name!r} parameter of remove"):
        influence("grad-dot").fit(X, y).remove(REMOVED, **{name: value})


@pytest.mark.slow
def test_rows_are_relabelled_as_if_they_had_been_so_from_the_recorded_state_on():
    """Plain torch, with the labels of the rows changed in the middle of the run."""
    fitted, run = trained(network(norm=True, dropout=True), "adamw", max_epochs=5, trajectory=10)
    rows = [7, 2]
    labels = (run.y[rows] + torch.tensor([1, 2])).numpy() % 3
    edited = fitted.relabel(rows, labels, share=0.25)
    first = round(run.recorded.n_steps * (1 - edited.edit_["share"]))
    changed = run.y.clone()
    changed[rows] = torch.tensor(labels)
    run.y = FromStep(first, run.y, changed, reads=4)  # by losses and by shares, in two passes
    module = run.trained(torch.ones(36, dtype=torch.float64))
    module.requires_grad_(False)
    torch.testing.assert_close(weights(edited), flat(module), rtol=1e-10, atol=1e-12)
    loss = nn.functional.cross_entropy(module(torch.tensor(ROWS[rows])), changed[rows])
    assert edited.edit_["relabelled_loss_after"] == pytest.approx(float(loss))
    assert edited.edit_["n_relabelled"] == 2
    assert fitted.relabel(rows, labels, how="retrain").edit_["how"] == "retrain"
    run.y.reads = 0
    both = fitted.remove([5], share=0.25, after=edited)
    module = run.trained(without(first, [5]))
    torch.testing.assert_close(weights(both), flat(module), rtol=1e-10, atol=1e-12)


def test_labels_keep_their_rows_and_their_length():
    names = np.array(["a", "b", "very long"])[y]
    held_out = ValidationData(X_val, np.array(["a", "b", "very long"])[y_val])
    fitted = influence("grad-dot", validation=held_out).fit(X, names)
    one = fitted.relabel([17, 3], ["very long", "a"])
    other = fitted.relabel(np.isin(np.arange(60), [3, 17]), ["a", "very long"])
    assert torch.equal(weights(one), weights(other))
    codes = fitted.attributions_[0].problem.path.codes_with([17, 3], ["very long", "a"])
    expected = y.copy()
    expected[[17, 3]] = 2, 0
    assert codes.tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [SAMRegressor, SAMNet])
def test_targets_are_replaced_by_any_number(kind):
    """Those given to ``fit`` are whole numbers."""
    net = kind(nn.Linear(6, 1).double(), **SMALL, lr=0.01)
    held_out = ValidationData(X_val, np.round(X_val[:, :1]).astype(int).ravel())
    fitted = influence("grad-dot", estimator=net, validation=held_out)
    fitted.fit(X, np.round(X[:, 0]).astype(int))
    edited = fitted.relabel([4], [2.5])
    z = float(edited.module_(torch.tensor(X[4:5])).detach())
    assert edited.edit_["relabelled_loss_after"] == pytest.approx((z - 2.5) ** 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r"labels must hold a label .* shape \(2,\), got \(1,\)"),
        ([[0], [1]], r"shape \(2,\), got \(2, 1\)"),
        (None, r"shape \(2,\), got \(\)"),
        ([0, 7], r"labels holds labels that were not in fit: \[7\]"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        influence("grad-dot").fit(X, y).relabel([0, 1], labels)


def test_a_class_is_not_relabelled_away():
    fitted = influence("grad-dot").fit(X, y)
    rows = np.flatnonzero(y == 1)
    with pytest.raises(ValueError, match=r"labels leave no row in class 1: an edit cannot remove"):
        fitted.relabel(rows, np.full(len(rows), 2))
    swapped = np.append(rows, np.flatnonzero(y == 2)[0])
    fitted.relabel(swapped, np.append(np.full(len(rows), 2), 1))


@pytest.mark.slow
def test_edits_after_one_another_are_one_edit():
    fitted = influence("gif", estimator=make_pipeline(StandardScaler(), SAMClassifier(**SMALL)))
    fitted.fit(X, y)
    whole = weights(fitted.remove([3, 17, 40])[-1])
    first = pickle.loads(pickle.dumps(fitted.remove([40])))
    then = fitted.remove([17, 3], after=first)
    assert torch.equal(weights(then[-1]), whole)
    report = then[-1].edit_
    assert report["n_removed"] == 2
    assert report["predicted_rise"] == pytest.approx(fitted.scores_[[3, 17, 40]].sum())
    other = fitted.relabel([17], 1 - y[[17]] // 2)
    assert torch.equal(weights(fitted.remove([3, 17, 40], after=other)[-1]), whole)
    both = fitted.remove([3, 40], after=other)
    assert np.isnan(both[-1].edit_["predicted_rise"])
    back = fitted.relabel([17], y[[17]], after=both)
    assert torch.equal(weights(back[-1]), weights(fitted.remove([3, 40])[-1]))


@pytest.mark.parametrize("train", ["fit", "partial_fit"])
def test_a_model_trained_after_its_edit_has_no_edits(train):
    fitted = influence("grad-dot").fit(X, y)
    edited = fitted.remove([40])
    getattr(edited, train)(X[:30], y[:30])
    with pytest.raises(ValueError, match="after=SAMClassifier has other weights than the edit gav"):
        fitted.remove([3], after=edited)


def test_edits_of_a_split_follow_those_of_the_same_split():
    fitted = influence("grad-dot", validation=StratifiedKFold(2)).fit(X, y)
    kept = [set(each.trained.trained_rows) for each in fitted.attributions_]
    for split in (0, 1):
        first, then = sorted(kept[split] - kept[1 - split])[:2]
        edited = fitted.remove([first], split=split)
        both = fitted.remove([then], split=split, after=edited)
        whole = fitted.remove([first, then], split=split)
        assert torch.equal(weights(both), weights(whole))
        other = sorted(kept[1 - split])[:1]
        with pytest.raises(ValueError, match="returned, for the same split, got SAMClassifier"):
            fitted.remove(other, split=1 - split, after=edited)


LATER = {
    "again": ({"indices": [3]}, "removed before, such as 3"),
    "class": ({"indices": np.flatnonzero(y == 1)[1:]}, "all rows of class 1"),
    "linear": ({"indices": [5], "how": "linear"}, r"got how=.linear. and verify=0"),
    "verify": ({"indices": [5], "verify": 1}, r"got how=.auto. and verify=1"),
    "stranger": ({"indices": [5], "after": SAMClassifier()}, "after must be a model that remove"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LATER)
def test_edits_that_cannot_follow_another_are_named(name):
    fitted, (options, message) = influence().fit(X, y), LATER[name]
    first = fitted.remove([3, np.flatnonzero(y == 1)[0]])
    with pytest.raises(ValueError, match=message):
        fitted.remove(**{"after": first} | options)
