"""Parts of a batch that climb apart: training, replay, resuming, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sam_attribution import SAMClassifier, SAMRegressor
from sam_attribution.training._batch_parts import part_of, part_slices
from tests.in_parts import RunInParts
from tests.models import tabular, targets
from tests.training.test_resume import Death, assert_same_run, classifier, dies_at
from tests.training.test_resume import X as X_run
from tests.training.test_resume import y as y_run

X, y, weight = tabular()
RHO = 0.3
OPTIMIZERS = {
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}, 0.1),
    "adam": (torch.optim.Adam, {}, 0.02),
}


def network():
    torch.manual_seed(0)
    layers = nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.3)
    return nn.Sequential(*layers, nn.Linear(5, 3)).double()


def train(m=4, optimizer="momentum", sample_weight=None, **params):
    kind, options, lr = OPTIMIZERS[optimizer]
    settings = {
        "module": network(), "rho": RHO, "m_sharpness": m, "optimizer": kind, "lr": lr,
        "dtype": "float64", "max_epochs": 2, "batch_size": 10, "random_state": 0, "trajectory": 2,
        **{f"optimizer__{name}": value for name, value in options.items()},
    }  # fmt: skip
    return SAMClassifier(**settings | params).fit(X, y, sample_weight)


def weights_of(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach()


def test_slices_hold_every_row_once_and_m_rows_at_most():
    for n, m in [(10, 3), (10, 10), (10, 11), (7, 1), (9, 4)]:
        slices = part_slices(n, m)
        rows = [list(range(n))[s] for s in slices]
        assert [row for some in rows for row in some] == list(range(n))
        assert max(map(len, rows)) <= m
        assert max(map(len, rows)) - min(map(len, rows)) <= 1
        assert len(slices) == -(-n // m)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_training_equals_a_loop_by_hand(optimizer, weighted):
    of_class = torch.tensor([1.0, 2.0, 0.5]).double()
    more = {"criterion__weight": of_class} if weighted else {}
    net = train(3, optimizer, weight if weighted else None, **more)
    kind, options, _ = OPTIMIZERS[optimizer]
    run = RunInParts(
        network(), torch.tensor(X), torch.tensor(y), net.trajectory_,
        lambda w, g: RHO * g / g.norm(), kind, options, torch.tensor(weight) if weighted else None,
        m=3,
    )  # fmt: skip
    if weighted:
        run.loss = nn.CrossEntropyLoss(weight=of_class, reduction="none")
        run.share = lambda labels: of_class[labels]
    with torch.random.fork_rng():
        expected = run.trained(torch.ones(len(y)).double())
    found = net.module_.state_dict()
    for name, value in expected.state_dict().items():  # running statistics, too
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-11)
    whole = train(None, optimizer, weight if weighted else None, **more)
    assert (weights_of(net) - weights_of(whole)).norm() > 1e-3
    assert [step.m_sharpness for step in net.trajectory_.schedule] == [3] * 8
    assert net.trajectory_.schedule[0].perturbation_norm == pytest.approx(RHO)


def test_one_part_is_plain_sam_to_the_bit():
    whole, part = train(None), train(10)
    assert torch.equal(weights_of(whole), weights_of(part))
    assert torch.equal(whole.module_[1].running_var, part.module_[1].running_var)
    losses = [[row["train_loss"] for row in net.history] for net in (whole, part)]
    assert losses[0] == losses[1]


def test_the_loss_and_prediction_of_a_step_are_those_at_the_weights():
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    net = train(4, module=module, max_epochs=0)
    batch = [torch.tensor(X), torch.tensor(y)]
    given = [torch.ones_like(p) for p in net.module_.parameters()]
    for p, gradient in zip(net.module_.parameters(), given, strict=True):
        p.grad = gradient.clone()
    step = net.train_step_single(batch)
    outputs = net.module_(batch[0])
    torch.testing.assert_close(step["y_pred"], outputs)
    torch.testing.assert_close(step["loss"], nn.functional.cross_entropy(outputs, batch[1]))
    added = [p.grad - 1 for p in net.module_.parameters()]  # what was there is kept
    for p in net.module_.parameters():
        p.grad = None
    net.train_step_single(batch)
    for p, gradient in zip(net.module_.parameters(), added, strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_replay_and_partial_fit_keep_the_parts_of_each_step():
    net = train(4)
    net.set_params(m_sharpness=2).partial_fit(X, y)
    assert {step.m_sharpness for step in net.trajectory_.schedule} == {4, 2}
    *_, last = net.replay(X, y)
    assert torch.equal(last.params, weights_of(net))
    assert clone(net).m_sharpness == 2


def test_a_killed_run_goes_on_in_parts(tmp_path, monkeypatch):
    lived = classifier(tmp_path / "whole", m_sharpness=6).fit(X_run, y_run)
    with monkeypatch.context() as patch:
        dies_at(12, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", m_sharpness=6).fit(X_run, y_run)
    resumed = SAMClassifier.resume(tmp_path / "dead", X_run, y_run)
    assert_same_run(resumed, lived)
    assert {step.m_sharpness for step in resumed.trajectory_.schedule} == {6}


def test_a_regressor_and_a_batch_of_weight_zero():
    rows, numbers, _ = targets()
    weights = np.ones(len(numbers))
    weights[:10] = 0.0  # without shuffling, a whole batch and some parts
    settings = {"iterator_train__shuffle": False, "batch_size": 10, "max_epochs": 2}
    reg = SAMRegressor(m_sharpness=4, random_state=0, **settings).fit(rows, numbers, weights)
    assert np.isfinite(reg.predict(rows)).all()
    few = SAMRegressor(m_sharpness=5, random_state=0, **settings).fit(
        rows, numbers, np.where(np.arange(len(numbers)) % 10 < 5, 0.0, 1.0)
    )
    whole = SAMRegressor(random_state=0, **settings).fit(
        rows, numbers, np.where(np.arange(len(numbers)) % 10 < 5, 0.0, 1.0)
    )
    # a part of weight 0 has no say, and the other part climbs as the batch does
    torch.testing.assert_close(weights_of(few), weights_of(whole), rtol=1e-4, atol=1e-6)


def test_batches_are_split_whatever_holds_the_tensors():
    batch = [{"a": torch.arange(4), "b": (torch.arange(8).view(4, 2),)}, torch.arange(4)]
    (named, labels) = part_of(batch, slice(1, 3))
    assert named["a"].tolist() == labels.tolist() == [1, 2]
    assert named["b"][0].tolist() == [[2, 3], [4, 5]]
    with pytest.raises(TypeError, match="m_sharpness needs batches of tensors"):
        part_of(["text"], slice(1))


@pytest.mark.parametrize("m", [0, -1, 1.5, "4"])
def test_other_numbers_of_rows_are_refused(m):
    with pytest.raises(ValueError, match="'m_sharpness' parameter of SAMClassifier must be"):
        SAMClassifier(m_sharpness=m).fit(X, y)
