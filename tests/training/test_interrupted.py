"""Ctrl-C ends training, and whatever it was for; early stopping ends training in good order."""

import signal
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EarlyStopping
from torch.nn.utils import parameters_to_vector

from sam_attribution.comparison import compare
from sam_attribution.exceptions import AttributionWarning
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


@pytest.fixture
def stopped(tmp_path, ctrl_c):
    """A net that Ctrl-C stopped in its second epoch of three, with a folder."""
    clf = classifier(trajectory_dir=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    ctrl_c.undo()
    return clf


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_partial_fit_does_not_overwrite_a_run_that_can_be_resumed(stopped):
    before = contents(stopped.trajectory_dir)
    for go_on in (stopped.partial_fit, stopped.set_params(warm_start=True).fit):
        with pytest.raises(
            ValueError, match=r"stopped after 1 of 3 epochs.*by SAMClassifier\.resume\("
        ):
            go_on(X, y)
    assert contents(stopped.trajectory_dir) == before
    resumed = SAMClassifier.resume(stopped.trajectory_dir, X, y)
    assert np.array_equal(resumed.predict_proba(X), classifier().fit(X, y).predict_proba(X))


def test_without_its_folder_a_stopped_net_goes_on_in_memory(stopped):
    folder = stopped.trajectory_dir
    before = contents(folder)
    stopped.set_params(trajectory_dir=None).partial_fit(X, y)
    assert stopped.trajectory_.n_steps == 5 + 12
    assert stopped.trajectory_.states[0].params.shape == stopped.trajectory_.states[-1].params.shape
    assert contents(folder) == before


@pytest.mark.parametrize("first", [None, "one"])
def test_a_folder_that_is_set_after_training_began_is_refused(tmp_path, first):
    folder = None if first is None else tmp_path / first
    clf = classifier(max_epochs=1, trajectory_dir=folder).fit(X, y)
    clf.set_params(trajectory_dir=tmp_path / "other")
    with pytest.raises(ValueError, match=r"other' is not the folder of .*trajectory_dir=None"):
        clf.partial_fit(X, y)
    assert not (tmp_path / "other").exists()


class Fails(Callback):
    """Raises an error at the end of the second epoch, while the cause is there."""

    causes = []

    def on_epoch_end(self, net, **kwargs):
        if self.causes and len(net.history) == 2:
            raise RuntimeError("no connection")


def test_an_error_is_noted_on_disk_and_said_by_resume(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Fails, "causes", ["network"])
        with pytest.raises(RuntimeError, match="no connection"):
            classifier(trajectory_dir=tmp_path, callbacks=[Fails()]).fit(X, y)
    said = r"stopped with RuntimeError: no connection \(after 1 of 3 epochs\)"
    with pytest.warns(AttributionWarning, match=said):
        resumed = SAMClassifier.resume(tmp_path, X, y, callbacks=[Fails()])
    assert len(resumed.history) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAMClassifier.resume(tmp_path, X, y, callbacks=[Fails()])


def test_an_error_within_a_step_makes_the_record_unusable(monkeypatch):
    def infer(net, x, **params):
        if net.module_.training and net.trajectory_.n_steps == 5:
            raise RuntimeError("out of memory")
        return original(net, x, **params)

    original = Conformant.infer
    monkeypatch.setattr(Conformant, "infer", infer)
    clf = classifier()
    with pytest.raises(RuntimeError, match="out of memory"):
        clf.fit(X, y)
    with pytest.raises(ValueError, match=r"RuntimeError \(out of memory\) interrupted training"):
        clf.replayer(X, y)
