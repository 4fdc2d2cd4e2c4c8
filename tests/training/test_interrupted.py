"""Ctrl-C ends training, and whatever it was for; early stopping ends training in good order."""

import signal
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EarlyStopping
from torch.nn.utils import parameters_to_vector

from sam_attribution.comparison import compare
from sam_attribution.filtering import FilteredClassifier
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.training._conformant import Conformant
from sam_attribution.validation_data import ValidationData
from tests.models import tabular

X, y, _ = tabular()
held_out = ValidationData(*tabular(15, seed=1)[:2])
press_ctrl_c = partial(signal.default_int_handler, signal.SIGINT, None)  # not a frame of its own


@pytest.fixture
def ctrl_c(monkeypatch):
    """Presses Ctrl-C in every second pass of the sixth step, which is in the second epoch."""

    def infer(net, x, **params):
        if net.module_.training and net.trajectory_.n_steps == 5 and net._perturbation_norm:
            press_ctrl_c()
        return original(net, x, **params)

    original = Conformant.infer
    monkeypatch.setattr(Conformant, "infer", infer)
    return monkeypatch


def classifier(**settings):
    params = {"max_epochs": 3, "batch_size": 12, "random_state": 0, **settings}
    return SAMClassifier(**params)


class AtEpochEnd(Callback):
    """Ends the second epoch by `how`."""

    def __init__(self, how):
        self.how = how

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.how()


class Stopping(AtEpochEnd):
    def __init__(self):
        super().__init__(self.stop)

    def stop(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize("cls", [SAMClassifier, SAMRegressor])
def test_fit_raises_and_nothing_is_lost(cls, ctrl_c):
    net = cls(lr=0.01, max_epochs=3, batch_size=12, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y)
    assert net.initialized_
    assert net.predict(X).shape == y.shape
    assert len(net.history) == 2
    assert net.trajectory_.n_steps == 5
    assert net.trajectory_.states[-1].step == 5
    with pytest.raises(ValueError, match="Ctrl-C interrupted training in the middle of a step"):
        net.replayer(X, y)
    ctrl_c.undo()
    assert net.partial_fit(X, y).trajectory_.n_steps == 5 + 12


def test_between_two_steps_the_run_is_what_it_is():
    clf = classifier(callbacks=[AtEpochEnd(lambda: press_ctrl_c())])  # in what a callback calls
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    *_, last = clf.replay(X, y)
    assert last.step == clf.trajectory_.n_steps == 8
    weights = parameters_to_vector(clf.module_.parameters()).detach()
    assert torch.equal(last.params, weights)


@pytest.mark.parametrize(
    "stop",
    [Stopping(), EarlyStopping("train_loss", patience=1, threshold=100)],
    ids=["own", "skorch"],
)
def test_a_callback_may_end_training(stop):
    clf = classifier(callbacks=[stop]).fit(X, y)
    assert len(clf.history) == 2
    influence = SAMInfluence(FrozenEstimator(clf), method="gif", validation=held_out)
    assert np.isfinite(influence.fit(X, y).scores_).all()


USERS = {
    "influence": lambda clf: SAMInfluence(clf, validation=held_out).fit(X, y),
    "filter": lambda clf: FilteredClassifier(clf).fit(X, y),
    "compare": lambda clf: compare(["hif"], clf, X, y, validation=held_out),
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
def test_whoever_trains_is_interrupted(use, ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        use(classifier())


def test_an_interrupted_influence_has_no_scores(request):
    influence = SAMInfluence(classifier(), validation=held_out).fit(X, y)
    request.getfixturevalue("ctrl_c")
    with pytest.raises(KeyboardInterrupt):
        influence.fit(X, y)
    assert not hasattr(influence, "scores_")


def test_a_run_on_disk_goes_on(tmp_path, ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        classifier(trajectory_dir=tmp_path).fit(X, y)
    ctrl_c.undo()
    resumed = SAMClassifier.resume(tmp_path, X, y)
    assert len(resumed.history) == 3
    assert np.array_equal(resumed.predict_proba(X), classifier().fit(X, y).predict_proba(X))
