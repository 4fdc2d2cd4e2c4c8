"""Unrolled from recorded states: against the same sum with dense Hessians, by hand."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.optim.lr_scheduler import CosineAnnealingLR

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import Unrolled, UnrolledSegments
from sam_attribution.training._sam_step import SAMMixin

rng = np.random.default_rng(0)
X, X_val = rng.normal(size=(30, 4)), rng.normal(size=(12, 4))
y, y_val = (np.argmax(rows[:, :3] + 0.5 * rows[:, 1:], 1) for rows in (X, X_val))
HELD_OUT = ValidationData(X_val, y_val)
PLAIN = {"lr": 0.2, "optimizer__weight_decay": 0.02}
MOMENTUM = {"lr": 0.1, "optimizer__momentum": 0.95}
NESTEROV = MOMENTUM | {"optimizer__nesterov": True, "m_sharpness": 3}
DAMPENED = MOMENTUM | {"optimizer__dampening": 0.4}
CLIPPED = MOMENTUM | {"callbacks": [GradientNormClipping(0.3)]}


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def trained(module=None, **settings):
    settings = {"trajectory": 3, "max_epochs": 5, "batch_size": 8, "rho": 0.1} | settings
    return SAMClassifier(
        network() if module is None else module, dtype="float64", random_state=0, **settings
    ).fit(X, y)


def influence(clf, method=None):
    method = UnrolledSegments() if method is None else method
    return SAMInfluence(FrozenEstimator(clf), method=method, validation=HELD_OUT).fit(X, y)


class ByHand:
    """Losses as functions of one vector, for torch's dense derivatives."""

    def __init__(self, clf):
        self.clf, self.module = clf, clf.module_
        self.shapes = {name: p.shape for name, p in self.module.named_parameters()}

    def losses(self, w, X, y):
        pieces = w.split([shape.numel() for shape in self.shapes.values()])
        named = zip(self.shapes.items(), pieces, strict=True)
        params = {name: piece.view(shape) for (name, shape), piece in named}
        output = functional_call(self.module, params, (torch.tensor(X),))
        return nn.functional.cross_entropy(output, torch.tensor(y), reduction="none")

    def hessian(self, w, rows):
        return hessian(lambda w: self.losses(w, X[rows], y[rows]).mean(), w)

    def scores(self, n_merged, momentum=0.0, dampening=0.0, weight_decay=0.0):
        """Scores, and the growth of the derivative."""
        states, schedule = self.clf.trajectory_.states, self.clf.trajectory_.schedule
        V = jacobian(lambda w: self.losses(w, X_val, y_val).mean(), states[-1].params)
        a, m, scores, growth = V, torch.zeros_like(V), 0.0, 1.0
        merged = max(momentum**n_merged, 0.8)
        share = (1 - dampening) * (1 - merged) / (1 - momentum)
        states = {state.step: state.params for state in states}
        for first, middle, last in ((13, 16, 20), (7, 10, 13), (0, 3, 7)):
            w, total = states[middle], torch.zeros_like(V)
            for end in range(last, first, -n_merged):
                steps = range(max(first, end - n_merged), end)
                rate = sum(schedule[t].rates[0] * schedule[t].gradient_factor for t in steps)
                b = m - rate * share * a
                H = self.hessian(w, np.array(schedule[steps[len(steps) // 2]].indices))
                a, m, total = a + H @ b + weight_decay * b, merged * b, total + b
                growth = max(growth, float(a.norm() / V.norm()))
            G = jacobian(lambda w: self.losses(w, X, y), w)
            scores = scores - G @ total / len(y)
        return scores.numpy(), growth


@pytest.mark.parametrize(
    ("settings", "n_merged"),
    [
        pytest.param(PLAIN, 3, id="plain", marks=pytest.mark.slow),
        pytest.param(MOMENTUM, 1, id="every step", marks=pytest.mark.slow),
        pytest.param(NESTEROV, 2, id="nesterov in parts"),
        pytest.param(DAMPENED, 3, id="dampened", marks=pytest.mark.slow),
        pytest.param(CLIPPED, 3, id="clipped"),
    ],
)
def test_it_is_the_sum_over_stretches_with_dense_hessians(settings, n_merged):
    clf = trained(**settings)
    found = influence(clf, UnrolledSegments(n_merged=n_merged))
    of_optimizer = ("momentum", "dampening", "weight_decay")
    options = {name: settings.get(f"optimizer__{name}", 0.0) for name in of_optimizer}
    expected, growth = ByHand(clf).scores(n_merged, **options)
    np.testing.assert_allclose(found.scores_, expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.diagnostics_["growth"], growth, rtol=1e-9)
    exact = influence(clf, Unrolled(check=None)).scores_
    assert 0.7 < np.corrcoef(found.scores_, exact)[0, 1] < 1 - 1e-6


def test_queries_one_by_one_have_the_mean_of_the_scores_and_the_largest_growth():
    found = influence(trained(**MOMENTUM))
    mean = found.attribute(X_val, y_val).mean(0)
    np.testing.assert_allclose(mean, found.scores_, rtol=1e-9, atol=1e-13)


def test_recorded_states_are_enough(monkeypatch):
    clf = trained(**MOMENTUM)
    monkeypatch.setattr(SAMMixin, "train_step_single", None)  # any step would fail
    assert np.isfinite(influence(clf).scores_).all()


def test_growth_above_the_limit_is_said():
    clf = trained(lr=0.5, optimizer__momentum=0.9, max_epochs=20, trajectory=2)
    with pytest.warns(UserWarning, match="The derivative grew .* times on its way back"):
        found = influence(clf)
    assert found.diagnostics_["growth"].item() > 100


FALLING = {"policy": CosineAnnealingLR, "T_max": 20, "step_every": "batch"}


@pytest.mark.parametrize(
    ("rate", "last"),
    [
        (None, 1.0),
        (LRScheduler(**FALLING, eta_min=0.04), 0.4 + 0.3 * (1 + np.cos(19 * np.pi / 20))),
        (LRScheduler(**FALLING, eta_min=0.01), 0.1 + 0.45 * (1 + np.cos(19 * np.pi / 20))),
    ],
)
def test_a_rate_that_hardly_falls_is_said(rate, last):
    clf = trained(lr=0.1, callbacks=None if rate is None else [("rate", rate)])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", AttributionWarning)
        found = influence(clf)
    np.testing.assert_allclose(found.diagnostics_["last_rate"], last)
    texts = [str(each.message) for each in said if each.category is AttributionWarning]
    doubts = [text for text in texts if "learning rate ends at" in text]
    assert len(doubts) == len(texts) == (last > 0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": torch.optim.AdamW}, "steps of torch.optim.SGD, got AdamW. Use"),
        ({"optimizer__momentum": 1.0}, "momentum must be below 1 to merge steps, got 1.0"),
        ({"module": nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))}, "module has batch norm"),
    ],
    ids=["optimizer", "momentum", "batch norm"],
)
def test_what_cannot_be_merged_is_refused_before_training_and_after(settings, message, monkeypatch):
    settings = {"module": network()} | settings
    clf = trained(**settings, max_epochs=1)
    with pytest.raises(ValueError, match=message):
        influence(clf)
    monkeypatch.setattr(SAMMixin, "train_step_single", None)
    asking = SAMInfluence(clf, method="unrolled-segments", validation=HELD_OUT)
    with pytest.raises(ValueError, match=message):
        asking.fit(X, y)
