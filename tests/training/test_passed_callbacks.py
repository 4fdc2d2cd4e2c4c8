"""Callbacks passed to resume: mended ones go on, what cannot go on is said when training begins."""

import warnings

import numpy as np
import pytest
from skorch.callbacks import Callback, LRScheduler

from sam_attribution.exceptions import AttributionWarning
from sam_attribution.training import SAMClassifier
from tests.models import tabular

X, y, _ = tabular()


def classifier(folder, *callbacks):
    return SAMClassifier(
        max_epochs=3,
        batch_size=30,
        random_state=0,
        trajectory_dir=folder,
        callbacks=list(callbacks),
    )


class Buggy(Callback):
    """Divides by zero in the second epoch."""

    divisor = 0

    def __init__(self, path="a.csv"):
        self.path = path
        self.seen = []

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.last = 1 / self.divisor
        self.seen.append(len(net.history))


class Mended(Buggy):
    divisor = 2


@pytest.fixture
def died(tmp_path):
    """Folder of a run that a callback's error ended in the second of three epochs."""
    buggy = Buggy()
    with pytest.raises(ZeroDivisionError):
        classifier(tmp_path / "run", ("log", buggy)).fit(X, y)
    return tmp_path / "run", buggy


def assert_whole(resumed):
    expected = classifier(None, LRScheduler("StepLR", step_size=9)).fit(X, y)
    np.testing.assert_array_equal(resumed.predict_proba(X), expected.predict_proba(X))


def test_a_mended_callback_goes_on(died):
    folder, _ = died
    with pytest.warns(AttributionWarning) as said:
        resumed = SAMClassifier.resume(folder, X, y, callbacks=[("log", Mended("b.csv"))])
    texts = [str(each.message) for each in said]
    assert len(texts) == 2
    assert "'log', its code changed and its path changed" in texts[0]
    assert "stopped with ZeroDivisionError" in texts[1]
    _, log = resumed.callbacks[0]
    assert (log.path, log.seen, log.last) == ("b.csv", [1, 2, 3], 0.5)
    assert_whole(resumed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the run is now one of the mended callback
        SAMClassifier.resume(folder, X, y, callbacks=[("log", Mended("b.csv"))])


def test_the_instance_of_the_run_may_be_passed_again(died, monkeypatch):
    folder, buggy = died
    monkeypatch.setattr(Buggy, "divisor", 2)
    with pytest.warns(AttributionWarning) as said:
        resumed = SAMClassifier.resume(folder, X, y, callbacks=[("log", buggy)])
    assert [str(each.message)[:11] for each in said] == ["The run of "]  # stopped with an error
    assert buggy.seen == [1, 2, 3]
    assert_whole(resumed)


def test_a_callback_is_left_out_on_purpose_only(died):
    folder, _ = died
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word of an error before all is checked
        with pytest.raises(ValueError, match=r"lacks 'log'.*\('log', None\) among them"):
            SAMClassifier.resume(folder, X, y)
        with pytest.raises(ValueError, match=r"max_epochs differ.*without max_epochs, then"):
            SAMClassifier.resume(folder, X, y, max_epochs=9, callbacks=[("log", Mended())])
    other = ("other", Mended())
    with pytest.warns(AttributionWarning) as said:
        resumed = SAMClassifier.resume(folder, X, y, callbacks=[("log", None), other])
    assert "'other', the run had none of that name" in str(said[0].message)
    assert "stopped with ZeroDivisionError" in str(said[1].message)
    assert other[1].seen == [2, 3]
    assert_whole(resumed)


def test_rates_of_a_run_cannot_be_changed_on_the_way(tmp_path):
    classifier(tmp_path, LRScheduler("StepLR", step_size=1)).fit(X, y)
    with pytest.raises(ValueError, match=r"its step_size changed .* its lr_scheduler_ would undo"):
        SAMClassifier.resume(tmp_path, X, y, callbacks=[LRScheduler("StepLR", step_size=2)])


class Open(Callback):
    """Holds a file, which it is given or opens."""

    def __init__(self, path, file=None):
        self.path = path
        self.file = file

    def on_train_begin(self, net, **kwargs):
        self.opened = None if self.file else open(self.path, "a")  # noqa: SIM115

    def on_train_end(self, net, **kwargs):
        if self.opened:
            self.opened.close()


def test_a_callback_that_cannot_be_resumed_is_named_when_training_begins(tmp_path):
    with pytest.warns(AttributionWarning, match="'Open' holds 'opened'.*an argument of") as said:
        classifier(tmp_path / "run", Open(str(tmp_path / "log"))).fit(X, y)
    assert len(said) == 1
    with pytest.raises(ValueError, match=r"'opened' is not plain data.*\('Open', None\)"):
        SAMClassifier.resume(tmp_path / "run", X, y, callbacks=[Open(str(tmp_path / "log"))])


def test_a_file_given_as_an_argument_may_be_given_again(tmp_path):
    with open(tmp_path / "log", "a") as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(tmp_path / "run", Open("", file)).fit(X, y)
    with (
        open(tmp_path / "log", "a") as file,
        pytest.warns(AttributionWarning, match="its file changed or cannot be compared"),
    ):
        resumed = SAMClassifier.resume(tmp_path / "run", X, y, callbacks=[Open("", file)])
    assert resumed.callbacks[0].file is file
