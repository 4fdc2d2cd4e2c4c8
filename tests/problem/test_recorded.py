"""Scores of a recorded training are refused for weights that its steps did not lead to."""

import copy

import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from torch import nn

from sam_attribution.methods import GIF, TRAK, SelfInfluence, TracIn, Unrolled
from sam_attribution.perturbation import PNorm
from sam_attribution.problem import check_recorded, problem_from_estimator
from sam_attribution.retraining import FurtherTraining, LeaveOneOut
from sam_attribution.training import SAMClassifier
from tests.models import fitted, tabular

X, y, _ = tabular(24)
AFTER = "not those at the end of the recorded training"


def with_norm():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double()


class Averaged(Callback):
    """The mean of the weights after each epoch becomes the model, by ``torch.optim.swa_utils``."""

    def on_train_begin(self, net, **kwargs):
        self.mean = torch.optim.swa_utils.AveragedModel(net.module_)

    def on_epoch_end(self, net, **kwargs):
        self.mean.update_parameters(net.module_)

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(self.mean.module.state_dict())


class Shrinking(Callback):
    """A constraint that is put on the weights after every epoch, out of sight of autograd."""

    def on_epoch_end(self, net, **kwargs):
        for parameter in net.module_.parameters():
            parameter.data.mul_(0.999)


class ShrinkingInSteps(Callback):
    """The same within every step, before the optimizer's."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        for _, parameter in named_parameters:
            parameter.data.mul_(0.999)


class FreshStatistics(Callback):
    """Batch-norm statistics of all rows, as ``swa_utils.update_bn`` takes them."""

    def on_train_end(self, net, **kwargs):
        rows = torch.as_tensor(X)
        torch.optim.swa_utils.update_bn([rows], net.module_)


def net(callback=None, **settings):
    callbacks = [] if callback is None else [callback]
    defaults = {"max_epochs": 2, "batch_size": 12, "random_state": 0, "dtype": "float64"}
    return SAMClassifier(with_norm(), callbacks=callbacks, **defaults | settings)


@pytest.mark.parametrize("callback", [Averaged, Shrinking, FreshStatistics])
def test_a_callback_that_replaced_the_weights_is_named(callback):
    problem = problem_from_estimator(net(callback()).fit(X, y), X, y)
    message = f"{AFTER}.*: {callback.__name__} changed them after step 4"
    for method in (GIF(), TracIn(), SelfInfluence(), TRAK(n_checkpoints=2), Unrolled()):
        with pytest.raises(ValueError, match=message):
            method.prepare(problem)
    with pytest.raises(ValueError, match=message):
        LeaveOneOut(rows=[1]).prepare(problem)
    further = FurtherTraining(n_epochs=1, n_seeds=1, rows=[1])
    assert further.prepare(problem) is not None  # it needs the final model alone


def test_a_callback_that_moves_weights_within_steps_is_named():
    problem = problem_from_estimator(net(ShrinkingInSteps()).fit(X, y), X, y)
    for method in (GIF(), TracIn(), SelfInfluence(), TRAK(n_checkpoints=2), Unrolled()):
        with pytest.raises(ValueError, match=f"{AFTER}.*: ShrinkingInSteps changed them after ste"):
            method.prepare(problem)


def test_callbacks_that_only_watch_are_no_matter():
    stop, accuracy = EarlyStopping("train_loss"), EpochScoring("accuracy", on_train=True)
    watched = SAMClassifier(callbacks=[stop, accuracy], max_epochs=2, random_state=0).fit(X, y)
    assert watched.trajectory_.moved_by == {}
    check_recorded(problem_from_estimator(watched, X, y))


def test_weights_changed_by_hand_after_fit_and_between_two_fits():
    changed = net().fit(X, y)
    with torch.no_grad():
        changed.module_[0].weight.mul_(0.999)
    problem = problem_from_estimator(changed, X, y)
    with pytest.raises(ValueError, match=f"{AFTER}.*changed after fit"):
        LeaveOneOut(rows=[1]).prepare(problem)
    changed.partial_fit(X, y)
    with pytest.raises(ValueError, match="something between two calls of fit or partial_fit"):
        check_recorded(problem_from_estimator(changed, X, y))
    check_recorded(problem_from_estimator(net().fit(X, y).partial_fit(X, y), X, y))


def test_statistics_changed_by_hand_after_fit():
    changed = net().fit(X, y)
    changed.module_[1].running_mean.add_(0.1)
    with pytest.raises(ValueError, match=AFTER):
        check_recorded(problem_from_estimator(changed, X, y))


def test_a_module_put_in_the_place_of_the_trained_one_is_refused():
    changed = net().fit(X, y)
    changed.module_ = copy.deepcopy(changed.module_)
    with pytest.raises(ValueError, match=r"module_ was replaced.*load_state_dict"):
        problem_from_estimator(changed, X, y)


class Growing(PNorm):
    """A ball that depends on how often it was asked."""

    n_asked = 0

    def eps(self, w, g, rho):
        self.n_asked += 1
        return super().eps(w, g, self.n_asked * rho)


def test_a_perturbation_with_a_memory_is_refused():
    grown = net(perturbation=Growing(p=2)).fit(X, y)
    with pytest.raises(ValueError, match=r"perturbation changed.*depend on w, g and rho alone"):
        problem_from_estimator(grown, X, y)


@pytest.mark.parametrize("method", [GIF(), TracIn(), SelfInfluence(), Unrolled()])
def test_a_training_at_rate_0_has_no_influence(method):
    classifier, *data = fitted("mlp", lr=0.0, max_epochs=1)
    problem = problem_from_estimator(classifier, *data)
    with pytest.raises(ValueError, match="lr was 0 in every recorded step"):
        method.prepare(problem)
    with pytest.raises(ValueError, match=r"lr must be given.*FurtherTraining\(lr="):
        FurtherTraining(n_epochs=1, n_seeds=1, rows=[1]).prepare(problem)
