"""What cannot be attributed is refused before training, and training is the same for the check."""

import re
import time
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    SAMRegressor,
    ValidationData,
)
from sam_attribution.fitting import Split, _trained_split
from sam_attribution.fitting._before_training import check_before_training
from sam_attribution.methods import GIF, HIF, GradCos, SelfInfluence
from sam_attribution.problem import _module_checks
from tests.models import tabular, targets

X, Y, WEIGHT = tabular()


class Counting(SAMClassifier):
    """Counts the trainings."""

    n_trainings = 0

    def fit_loop(self, *args, **kwargs):
        Counting.n_trainings += 1
        return super().fit_loop(*args, **kwargs)


class Refusing(GIF):
    """Refuses what it is asked about, or counts how often it is asked."""

    asked = []

    def __init__(self, refuses=True):
        super().__init__()
        self.refuses = refuses

    def check_model(self, problem, optimizer):
        Refusing.asked.append((problem, optimizer))
        if self.refuses:
            raise ValueError("method refuses this model")


class Coupled(nn.Linear):
    def forward(self, X):
        return super().forward(X - X.mean(0))


class Random(nn.Linear):
    def forward(self, X):
        return F.dropout(super().forward(X), 0.5)


class NoReduction(nn.Module):
    def forward(self, output, y):
        return F.cross_entropy(output, y)


class CoupledLoss(nn.CrossEntropyLoss):
    """Divides by the spread of the batch's logits."""

    def forward(self, output, y):
        return super().forward(output / output.max(), y)


class WithPenalty(Counting):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        penalty = sum(p.abs().sum() for p in self.module_.parameters())
        return super().get_loss(y_pred, y_true, X=X, training=training) + 0.1 * penalty


class SwitchedOn(nn.Linear):
    """Couples the rows by a weight that is 0 before the training."""

    def __init__(self):
        super().__init__(6, 3)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, X):
        return super().forward(X - self.share * X.mean(0))


class Autocast(nn.Linear):
    ends = None

    def forward(self, X):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(X).to(self.ends)


class ThenFloat(Autocast):
    ends = torch.float32


class Signed(nn.Module):
    """Losses of both signs, added up one after the other."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, output, y):
        losses = output - y
        return losses.cumsum(0)[-1] / len(y) if self.reduction == "mean" else losses


OUTPUTS_REFUSED = [
    (partial(Counting, Coupled(6, 3)), "couples the rows"),
    (partial(Counting, SwitchedOn), "couples the rows"),
    (partial(Counting, Random(6, 3)), "is random"),
    (partial(Counting, criterion=NoReduction), "has no reduction"),
]
LOSSES_REFUSED = [
    (partial(Counting, criterion=CoupledLoss), "another loss alone than in a batch"),
    (partial(WithPenalty, nn.Linear(6, 3)), "not the mean of its rows' losses"),
    (partial(Counting, Autocast(6, 3)), r"outputs in bfloat16, .* End forward with \.to\(torch\.f"),
]
REFUSED = [*OUTPUTS_REFUSED, *LOSSES_REFUSED]


@pytest.mark.parametrize(
    ("judge", "net", "message"),
    [
        *((SAMInfluence, *each) for each in REFUSED),
        *((MislabelDetector, *each) for each in OUTPUTS_REFUSED),
    ],
)
def test_a_model_without_scores_is_refused_before_it_is_trained(judge, net, message):
    Counting.n_trainings = 0
    net = make_pipeline(StandardScaler(), net(max_epochs=1))
    with pytest.raises(ValueError, match=message):
        judge(net, random_state=0).fit(X, Y)
    assert Counting.n_trainings == 0


@pytest.mark.parametrize(("net", "_"), LOSSES_REFUSED)
def test_the_detector_takes_any_loss(net, _):
    Counting.n_trainings = 0
    detector = MislabelDetector(net(max_epochs=1), random_state=0).fit(X, Y)
    assert Counting.n_trainings == 1
    assert np.isfinite(detector.contamination_)


def test_what_was_checked_before_training_is_not_checked_again(monkeypatch):
    checked = []
    monkeypatch.setattr(_module_checks, "tried_copy", lambda *args: checked.append(args))
    net = SAMClassifier(nn.Linear(6, 3), max_epochs=1, random_state=0)
    SAMInfluence(net, method="grad-dot", validation=StratifiedKFold(3)).fit(X, Y)
    assert len(checked) == 1
    frozen = FrozenEstimator(net.fit(X, Y))
    SAMInfluence(frozen, method="grad-dot", validation=ValidationData(X, Y)).fit(X, Y)
    assert len(checked) == 2


def test_seconds_are_those_of_the_training(monkeypatch):
    def slow(*args, **kwargs):
        time.sleep(0.3)
        return True

    monkeypatch.setattr(_trained_split, "check_before_training", slow)
    split = Split(np.arange(len(Y)), X, Y, np.arange(0))
    net = SAMClassifier(nn.Linear(6, 3), max_epochs=1, random_state=0)
    started = time.perf_counter()
    trained = _trained_split.train_split(net, split, X, Y)
    assert 0 < trained.seconds <= time.perf_counter() - started - 0.3


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_no_memory_is_no_fault_of_the_module(error):
    class Large(nn.Linear):
        def forward(self, X):
            raise error("no memory")

    with pytest.raises(error, match="no memory"):
        check_before_training(SAMClassifier(Large(6, 3)), X, Y)


def test_rows_of_a_frozen_net_are_spread_over_all_of_them():
    """A net that was trained on rows sorted by class is asked about all classes."""
    Refusing.asked, order = [], np.argsort(Y, kind="stable")
    rows = X[order], Y[order]
    frozen = FrozenEstimator(SAMClassifier(nn.Linear(6, 3), max_epochs=1).fit(*rows))
    SAMInfluence(frozen, method=Refusing(False), validation=ValidationData(X, Y)).fit(*rows)
    ((problem, _),) = Refusing.asked
    assert set(problem.y.tolist()) == {0, 1, 2}


def test_a_method_may_refuse_a_model_before_it_is_trained():
    Counting.n_trainings, Refusing.asked = 0, []
    with pytest.raises(ValueError, match="method refuses this model"):
        SAMInfluence(Counting(optimizer__momentum=0.9), method=Refusing()).fit(X, Y, WEIGHT)
    assert Counting.n_trainings == 0
    ((problem, optimizer),) = Refusing.asked
    assert problem.path is None
    assert problem.n_classes == 3
    assert 0 < len(problem.y) <= 16
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_a_method_is_asked_once_for_all_splits():
    Refusing.asked = []
    settings = {"method": Refusing(False), "validation": StratifiedKFold(3)}
    SAMInfluence(Counting(max_epochs=1), **settings).fit(X, Y)
    assert len(Refusing.asked) == 1


@pytest.mark.parametrize(("net", "message"), [*REFUSED, (Counting, "method refuses")])
def test_a_model_that_is_trained_already_is_refused_too(net, message):
    frozen = FrozenEstimator(net(max_epochs=1, random_state=0).fit(X, Y))
    judge = SAMInfluence(frozen, method=Refusing(), validation=ValidationData(X, Y))
    with pytest.raises(ValueError, match=message):
        judge.fit(X, Y)


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
def test_the_check_changes_nothing(random_state, tmp_path):
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))

    def net():
        return SAMClassifier(lambda: module, max_epochs=2, trajectory_dir=tmp_path / "run")

    before = {name: value.clone() for name, value in module.state_dict().items()}
    stream = torch.get_rng_state(), random_state and random_state.get_state()[1].copy()
    checked = net().set_params(random_state=random_state)
    check_before_training(checked, X.astype("float32"), Y, WEIGHT)
    assert torch.equal(stream[0], torch.get_rng_state())
    assert not random_state or (random_state.get_state()[1] == stream[1]).all()
    assert not (tmp_path / "run").exists()
    assert not hasattr(checked, "module_")
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"module": nn.Linear(5, 3)},
        {"module": nn.Linear(6, 2)},
        {"module": nn.Linear(6, 3).requires_grad_(False)},
        {"criterion": nn.L1Loss},
    ],
)
def test_what_training_refuses_is_left_to_training(settings):
    """Its message is the one that ``fit`` of the net itself gives."""
    check_before_training(SAMClassifier(**settings), X, Y)
    with pytest.raises((ValueError, RuntimeError)) as alone:
        SAMClassifier(**settings).fit(X, Y)
    with pytest.raises((ValueError, RuntimeError)) as judged:
        SAMInfluence(SAMClassifier(**settings), random_state=0).fit(X, Y)
    said = [re.sub(r"\d+", "n", str(each.value)) for each in (alone, judged)]  # sizes of batches
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "criterion", [nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss, nn.SoftMarginLoss]
)
def test_losses_of_regressors_raise_no_alarm(criterion):
    rows, y, weight = targets()
    check_before_training(SAMRegressor(criterion=criterion), rows, y, weight)


def test_losses_with_a_mean_near_zero_raise_no_alarm():
    rows, y = np.zeros((16, 2), "float32"), np.random.default_rng(0).normal(size=16)
    check_before_training(
        SAMRegressor(nn.Linear(2, 1, bias=False), criterion=Signed), rows, y - y.mean()
    )


@pytest.mark.parametrize("method", [GradCos(), SelfInfluence(), HIF(), HIF(curvature="ggn")])
def test_methods_raise_no_alarm_for_weighted_rows_with_real_targets(method):
    rows, y, weight = targets()
    net = SAMRegressor(nn.Linear(rows.shape[1], 1), dtype="float32")
    check_before_training(net, rows, y, weight, method=method)


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion__label_smoothing": 0.1},
        {"criterion__weight": torch.tensor([1.0, 2.0, 0.5])},
        {"criterion": nn.MultiMarginLoss},
        {"module": ThenFloat(6, 3)},
        {"module": nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), "criterion": nn.NLLLoss},
    ],
)
def test_losses_of_classifiers_raise_no_alarm(settings):
    check_before_training(SAMClassifier(**settings), X, Y, WEIGHT)
