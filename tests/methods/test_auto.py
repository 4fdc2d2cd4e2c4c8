"""method="auto" against the methods that it stands for."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import HIF, Unrolled
from tests.adopted import VALIDATION, X, Y, adopted, module, trained


def scores(net, method="auto", **settings):
    options = {"validation": VALIDATION, "random_state": 0, "method": method} | settings
    estimator = net if net.__class__.__name__ == "FrozenEstimator" else FrozenEstimator(net)
    return SAMInfluence(estimator, **options).fit(X, Y).scores_


def test_a_recorded_training_is_unrolled_without_a_word():
    net = trained(module())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(net)
    expected = scores(net, Unrolled(check=None))
    np.testing.assert_array_equal(found, expected)
    assert SAMInfluence().method == "auto"


@pytest.mark.parametrize("why", ["no recorded training", "adopted", "the head", "amsgrad"])
def test_hif_stands_in_and_says_why(why):
    net, parameters = trained(module()), "all"
    if why == "no recorded training":
        net.set_params(trajectory=None).fit(X, Y)
    elif why == "adopted":
        net = adopted(net)
    elif why == "amsgrad":
        options = {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True, "lr": 0.01}
        net = SAMClassifier(module(), dtype="float64", random_state=0, **options).fit(X, Y)
    else:
        parameters = "head"
    with pytest.warns(AttributionWarning, match=r'uses "hif-fast".*: .*Name a method') as warned:
        found = scores(net, parameters=parameters)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scores(net, HIF("fast"), parameters=parameters)
    np.testing.assert_array_equal(found, expected)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class Square(nn.Module):
    def forward(self, x):
        return Once.apply(x)


def test_without_a_second_derivative_it_is_gif():
    torch.manual_seed(0)
    net = trained(nn.Sequential(nn.Linear(4, 5), Square(), nn.Linear(5, 3)).double(), lr=0.05)
    with pytest.warns(AttributionWarning, match='uses "gif"'):
        found = scores(net)
    np.testing.assert_array_equal(found, scores(net, "gif"))


class NoisyInTraining(nn.Module):
    """Noise of NumPy's stream, which no replay draws again."""

    def forward(self, x):
        return x * np.random.uniform(0.5, 1.5) if self.training else x


class SquareInTraining(Square):
    def forward(self, x):
        return super().forward(x) if self.training else x


@pytest.mark.parametrize(
    ("part", "trajectory", "reason"),
    [
        (NoisyInTraining(), "all", "ends .* away"),
        (NoisyInTraining(), 3, "Replay is .* away"),
        (SquareInTraining(), 3, "has no second derivative"),
    ],
)
def test_hif_stands_in_where_the_sweep_fails(part, trajectory, reason):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), part, nn.Tanh(), nn.Linear(5, 3)).double()
    clf = trained(network, lr=0.1, trajectory=trajectory)
    influence = SAMInfluence(FrozenEstimator(clf), validation=VALIDATION)
    with pytest.warns(AttributionWarning, match=f'uses "hif-fast".*{reason}'):
        influence.fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(influence.scores_, scores(clf, HIF("fast")))
    assert influence.diagnostics_["method_reason"].str.contains(reason).all()


def test_another_error_of_the_sweep_is_no_reason(monkeypatch):
    """A bug is not silently passed over."""
    clf = trained(module())

    def bug(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("sam_attribution.methods._sweep.check_same", bug)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        scores(clf)


def test_it_is_chosen_before_anything_is_trained():
    """A clone that is trained by fit goes the same way as a frozen one."""
    options = {"dtype": "float64", "random_state": 0, "max_epochs": 2}
    net = SAMClassifier(module(), trajectory=None, **options)
    with pytest.warns(AttributionWarning, match="trajectory"):
        SAMInfluence(net, validation=VALIDATION, random_state=0).fit(X, Y)
