"""Training that ends in numbers that are none, or none any more after one pass, is an error."""

import warnings

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from sam_attribution.exceptions import AttributionWarning
from sam_attribution.training import SAMClassifier, SAMRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 4)).astype("float32")
y = rng.integers(0, 3, 30)


def classifier(**settings):
    return SAMClassifier(**{"max_epochs": 1, "batch_size": 10, "random_state": 0, **settings})


class AfterLastStep(Callback):
    """Changes the weights when there is no step any more that would notice."""

    def __init__(self, factor):
        self.factor = factor

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.mul_(self.factor)


@pytest.mark.parametrize(
    ("factor", "what"), [(torch.nan, "largest weight is nan"), (1e30, "loss is (nan|inf)")]
)
def test_the_end_is_checked(factor, what):
    clf = classifier(callbacks=[AfterLastStep(factor)])
    with pytest.raises(ValueError, match=rf"{what} after the last step \(3\).* Lower lr or rho"):
        clf.fit(X, y)
    with pytest.raises(ValueError, match="cannot be used: training diverged"):
        clf.replayer(X, y)


@pytest.mark.parametrize("cls", [SAMClassifier, SAMRegressor])
def test_a_rate_that_is_far_too_large_is_an_error(cls):
    net = cls(lr=1e20, max_epochs=1, batch_size=-1, random_state=0)
    hundreds = 100 * y.astype("float32")
    with pytest.raises(ValueError, match="after the last step"):
        net.fit(X, y if cls is SAMClassifier else hundreds)


@pytest.mark.parametrize(("rho", "advice"), [(0.05, "Lower lr or rho"), (0, "Lower lr")])
def test_the_advice_leaves_out_what_is_not_used(rho, advice):
    clf = classifier(rho=rho, callbacks=[AfterLastStep(torch.nan)])
    with pytest.raises(ValueError, match=rf"training diverged\. {advice}\.$"):
        clf.fit(X, y)


class Unvalidated(SAMClassifier):
    """Has no use for validation, as train_split is None."""

    def validation_step(self, batch, **fit_params):
        raise NotImplementedError


class OnlyTrained(nn.Linear):
    """Fails in evaluation mode."""

    def forward(self, X):
        if not self.training:
            raise RuntimeError("no evaluation")
        return super().forward(X)


class OnlyOnce(Dataset):
    """Gives its rows to the one pass that trains."""

    def __init__(self, X, y):
        super().__init__(X, y)
        self.reads = 0

    def __getitem__(self, i):
        self.reads += 1
        if self.reads > len(self):
            raise OSError("the stream is at its end")
        return super().__getitem__(i)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (Unvalidated, {}),
        (SAMClassifier, {"module": OnlyTrained(4, 3)}),
        (SAMClassifier, {"dataset": OnlyOnce}),
        (SAMClassifier, {"iterator_train": lambda dataset, **_: DataLoader(dataset, 10)}),
    ],
)
def test_code_of_the_user_that_fails_at_the_end_does_not_end_the_fit(cls, settings):
    settings = {"max_epochs": 1, "batch_size": 10, "random_state": 0, **settings}
    assert cls(**settings).fit(X, y).trajectory_.n_steps == 3
    broken = cls(**settings, callbacks=[AfterLastStep(torch.nan)])
    with pytest.raises(ValueError, match=r"largest weight is nan .* Lower lr or rho\.$"):
        broken.fit(X, y)


class Frozen(nn.Module):
    """Batch norm that a user put in evaluation mode for good."""

    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 3)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, X):
        return self.linear(self.norm(X))


def test_the_check_keeps_the_mode_of_every_part():
    clf = classifier(module=Frozen()).fit(X, y)
    assert clf.module_.training
    assert clf.criterion_.training
    assert not clf.module_.norm.training


def test_weights_that_a_callback_put_back_count():
    callbacks = [
        AfterEpoch(2, torch.nan),
        EarlyStopping("train_loss", patience=1, load_best=True, threshold=100),
    ]
    clf = classifier(max_epochs=5, callbacks=callbacks).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


class AfterEpoch(AfterLastStep):
    def __init__(self, number, factor):
        super().__init__(factor)
        self.number = number

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.number:
            super().on_epoch_end(net, **kwargs)


class Counting(nn.Module):
    """Counts its passes in a buffer, in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, X):
        self.passes += 1
        return self.linear(X)


def test_the_check_leaves_no_trace():
    clf = classifier(module=Counting, max_epochs=2).fit(X, y)
    assert clf.module_.training
    assert clf.module_.passes == clf.trajectory_.states[-1].buffers["passes"] == 6


def test_on_disk_a_diverged_run_is_never_finished(tmp_path):
    settings = {"module": nn.Linear(4, 3), "callbacks": [AfterLastStep(torch.nan)]}
    with pytest.raises(ValueError, match="largest weight is nan"):
        classifier(**settings, trajectory_dir=tmp_path).fit(X, y)
    for _ in range(2):
        with (
            pytest.warns(AttributionWarning, match="stopped with ValueError: The largest weight"),
            pytest.raises(ValueError, match=r"largest weight is nan after the last step \(3\)"),
        ):
            SAMClassifier.resume(tmp_path, X, y, **settings)


def test_a_loss_far_above_that_of_guessing_is_warned_of():
    shifted = AfterLastStep(-1e6)  # what was right is wrong then
    torch.manual_seed(0)
    with pytest.warns(
        AttributionWarning, match=r"far above the 1.1 of guessing among 3 classes.*L"
    ):
        clf = classifier(module=nn.Linear(4, 3), callbacks=[shifted]).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()
    last = clf.trajectory_.schedule[-1].indices
    probability = clf.predict_proba(X[last])[np.arange(len(last)), y[last]]
    assert np.mean(-np.log(probability + 1e-30)) > 10 * np.log(3)


@pytest.mark.parametrize("settings", [{"lr": 0}, {"lr": 1e-3}, {"callbacks": "disable"}])
def test_a_loss_near_that_of_guessing_is_not_warned_of(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(**settings).fit(X, y)
