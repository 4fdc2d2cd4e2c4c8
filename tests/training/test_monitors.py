"""Callbacks that wait for a number that no epoch records."""

import pytest
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit

from sam_attribution.training import ConformantNet, SAMClassifier
from tests.models import tabular

X, y, _ = tabular()


def net(*callbacks, cls=SAMClassifier, **settings):
    return cls(callbacks=list(callbacks), max_epochs=2, random_state=0, **settings)


class Noting(Callback):
    """Records a loss of its own."""

    name = "valid_loss"

    def on_epoch_end(self, net, **kwargs):
        net.history.record(self.name, 1.0)


def plateau(**settings):
    return LRScheduler("ReduceLROnPlateau", monitor="valid_loss", **settings)


@pytest.mark.parametrize("cls", [SAMClassifier, ConformantNet])
@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping(),
        ("stop", EarlyStopping("valid_acc")),
        plateau(),
        plateau(step_every="batch"),
        Checkpoint(dirname="unused"),
    ],
)
def test_a_validation_loss_without_a_split_is_named_before_training(
    callback, cls, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    each = callback[1] if isinstance(callback, tuple) else callback
    name, instead = type(each).__name__, each.monitor.replace("valid", "train")
    refused = net(callback, cls=cls)
    message = rf"{name}\(monitor='{each.monitor}'\), but .*ValidSplit\(5\).*monitor='{instead}'"
    with pytest.raises(ValueError, match=message):
        refused.fit(X, y)
    assert len(refused.history) == 0


def test_monitors_that_are_recorded():
    net(EarlyStopping(), train_split=ValidSplit(5)).fit(X, y)
    net(EarlyStopping("train_loss"), LRScheduler("StepLR", step_size=1)).fit(X, y)
    net(Noting(), EarlyStopping(), plateau()).fit(X, y)
    accuracy = EpochScoring("accuracy", name="valid_acc", on_train=True, lower_is_better=False)
    net(accuracy, EarlyStopping("valid_acc", lower_is_better=False)).fit(X, y)


def test_after_the_first_epoch_if_code_of_the_user_might_have_recorded_it():
    other = Noting()
    other.name = "other"
    refused = net(other, EarlyStopping())
    with pytest.raises(ValueError, match=r"EarlyStopping\(monitor='valid_loss'\), but train_split"):
        refused.fit(X, y)
    assert len(refused.history) == 1


@pytest.mark.parametrize("kind", [EarlyStopping, Checkpoint])
def test_another_name_that_is_not_recorded_is_told_the_names_that_are(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"{kind.__name__}\(monitor='loss'\), which is not recorded.*among .*'train_loss'"
    with pytest.raises(ValueError, match=message):
        net(kind("loss")).fit(X, y)


def test_an_error_of_a_callback_stays_as_it_is():
    class Looking(Callback):
        def on_epoch_end(self, net, **kwargs):
            return {}["valid_loss"]

    with pytest.raises(KeyError, match="valid_loss"):
        net(Looking(), EarlyStopping()).fit(X, y)
