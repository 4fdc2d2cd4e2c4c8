import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EarlyStopping, Freezer, GradientNormClipping, LRScheduler
from skorch.dataset import Dataset
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.methods import Unrolled
from sam_attribution.training import SAMClassifier, _trajectory, equal_stretches
from tests.models import tabular

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 6)).astype("float32")
y = (X[:, 0] > 0).astype(int)


class Noisy(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )


def trained(trajectory="all", module=Noisy, **params):
    clf = SAMClassifier(
        module,
        trajectory=trajectory,
        max_epochs=3,
        batch_size=10,
        random_state=0,
        **params,
    )
    return clf.fit(X, y)


def same(state, other):
    tensors, others = flatten(state), flatten(other)
    return state.step == other.step and all(
        torch.equal(a, b) for a, b in zip(tensors, others, strict=True)
    )


def numbers_of(state):
    return flatten(state) if state.is_whole else [state.params, *state.buffers.values()]


def flatten(state):
    moments = [
        value
        for slot in state.optimizer["state"].values()
        for value in slot.values()
        if isinstance(value, torch.Tensor)
    ]
    return [state.params, *state.buffers.values(), *moments]


RUNS = {
    "plain": {"module": None},
    "momentum, dropout, batch norm": {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    "adamw": {"optimizer": torch.optim.AdamW, "lr": 0.01},
    "adaptive": {"perturbation": "adaptive", "rho": 0.3},
    "clipping": {"callbacks": [GradientNormClipping(0.1)]},
    "rates": {"callbacks": [LRScheduler("StepLR", step_size=2, step_every="batch")]},
    "cycled momentum": {
        "optimizer__momentum": 0.9,
        "callbacks": [LRScheduler(OneCycleLR, max_lr=0.1, total_steps=16, step_every="batch")],
    },
    "frozen": {"callbacks": [Freezer("0.*")]},
    "groups": {"optimizer__param_groups": [("0.*", {"lr": 0.3, "weight_decay": 0.1})]},
}


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_replay_is_bit_for_bit(run):
    every, few = trained(**RUNS[run]), trained(trajectory=1, **RUNS[run])
    assert [state.step for state in every.trajectory_.states] == list(range(16))
    assert [state.step for state in few.trajectory_.states] == [0, 7, 14, 15]
    assert all(map(same, few.replay(X, y), every.trajectory_.states))
    assert all(map(same, few.replay(X, y, start=9, stop=12), every.trajectory_.states[9:13]))
    assert not torch.equal(every.trajectory_.states[6].params, every.trajectory_.states[7].params)


def test_settings_are_noted_once_for_all_steps_that_share_them():
    first, *others = trained(optimizer__momentum=0.9).trajectory_.schedule
    assert first.settings[0]["momentum"] == 0.9
    assert all(step.settings is first.settings for step in others)
    cycled = trained(**RUNS["cycled momentum"]).trajectory_.schedule
    assert [step.settings[0]["momentum"] for step in cycled[:2]] == [
        0.95,
        pytest.approx(0.93, 0.03),
    ]


def test_replay_needs_the_sample_weights_too():
    weight = rng.uniform(size=48)
    few, every = (
        SAMClassifier(trajectory=keep, max_epochs=2, random_state=0).fit(X, y, weight)
        for keep in (1, "all")
    )
    replayed = few.replay(X, y, sample_weight=weight)
    assert all(map(same, replayed, every.trajectory_.states))
    with pytest.raises(ValueError, match="sample_weight differ"):
        few.replay(X, y)


def test_replay_leaves_the_net_and_the_global_streams_as_they_are():
    clf = trained(trajectory=1, optimizer__momentum=0.9)
    before = [p.clone() for p in clf.module_.state_dict().values()]
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    list(clf.replay(X, y))
    assert all(map(torch.equal, before, clf.module_.state_dict().values()))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()
    assert clf.trajectory_.n_steps == 15


class GradientNorm(Callback):
    """Watches gradients and changes nothing."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        norm = sum(p.grad.norm() for _, p in named_parameters)
        net.history.record_batch("gradient_norm", float(norm))


def test_what_a_callback_notes_in_replay_is_not_in_the_history_of_training():
    clf = trained(callbacks=[GradientNorm()])
    before = copy.deepcopy(clf.history)
    list(clf.replay(X, y, 0, 1))
    assert clf.history == before


def test_replay_goes_by_what_was_recorded_not_by_later_settings():
    clf = trained(trajectory=1).set_params(rho=0.5, perturbation="linf", lr=7.0)
    assert all(map(same, clf.replay(X, y), trained().trajectory_.states))


def test_states_stand_in_the_middle_of_equal_stretches():
    clf = trained(trajectory=3)
    assert [(s.first, s.middle, s.last) for s in clf.trajectory_.stretches] == [
        (0, 2, 5),
        (5, 7, 10),
        (10, 12, 15),
    ]
    assert [state.step for state in clf.trajectory_.states] == [0, 2, 7, 12, 14, 15]


@pytest.mark.parametrize(
    ("keep", "n_epochs", "steps"),
    [
        (1, 6, [0, 15, 27, 29, 30]),
        (10, 6, [0, 1, 4, 7, 10, 13, 16, 19, 22, 25, 27, 28, 30]),  # 28.5: before the twentieth
        (2, 1, [0, 1, 3, 5]),  # no whole step is a tenth of five
    ],
)
def test_a_state_is_kept_before_the_last_tenth_and_twentieth(keep, n_epochs, steps):
    clf = SAMClassifier(trajectory=keep, max_epochs=n_epochs, batch_size=10, random_state=0)
    clf.fit(X, y)
    assert clf.trajectory_.n_steps == steps[-1]
    assert [state.step for state in clf.trajectory_.states] == steps


def test_the_last_tenth_is_that_of_the_whole_run_after_partial_fit():
    clf = trained(trajectory=1).partial_fit(X, y)
    assert [state.step for state in clf.trajectory_.states] == [0, 7, 14, 15, 22, 27, 29, 30]


@pytest.mark.parametrize(
    ("options", "vectors"),
    [({}, 1), ({"optimizer__momentum": 0.9}, 2), ({"optimizer": torch.optim.AdamW}, 3)],
)
def test_auto_keeps_all_states_that_fit_the_stated_memory(options, vectors, monkeypatch):
    def kept(limit):
        monkeypatch.setattr(_trajectory, "ALL_WITHIN", limit)
        clf = SAMClassifier(max_epochs=3, batch_size=10, random_state=0, **options).fit(X, y)
        return clf.trajectory_.keep, [state.step for state in clf.trajectory_.states]

    state = SAMClassifier(max_epochs=1, random_state=0).fit(X, y).trajectory_.states[0]
    needed = 16 * vectors * state.params.numel() * 4
    assert kept(needed) == ("all", list(range(16)))
    keep, steps = kept(needed - 1)
    assert keep == 10
    assert steps[0] == 0
    assert steps[-2:] == [14, 15]


def test_auto_keeps_ten_states_from_where_the_run_outgrows_the_memory(monkeypatch):
    clf = SAMClassifier(max_epochs=3, batch_size=10, random_state=0).fit(X, y)
    size = clf.trajectory_.states[0].params.numel() * 4
    monkeypatch.setattr(_trajectory, "ALL_WITHIN", 20 * size)
    clf.partial_fit(X, y)
    assert clf.trajectory_.keep == 10
    steps = [state.step for state in clf.trajectory_.states]
    assert steps[:16] == list(range(16))
    stretches = clf.trajectory_.stretches
    assert [stretches[0].first, stretches[-1].last] == [0, 30]
    assert all(before.last == after.first for before, after in pairwise(stretches))
    assert {stretch.middle for stretch in stretches} <= set(steps)


def long_run(trajectory, **params):
    """A run of 60 steps whose states are the weights and, unless told otherwise, a momentum."""
    params = {"optimizer__momentum": 0.9, "lr": 0.1} | params
    clf = SAMClassifier(
        trajectory=trajectory, max_epochs=12, batch_size=10, random_state=0, **params
    )
    return clf.fit(X, y)


@pytest.fixture
def room_for_weights(monkeypatch):
    """Every state's weights and buffers fit the limit of "auto", and no momentum beside them."""
    size = long_run(1).trajectory_.states[0].params.numel() * 4
    monkeypatch.setattr(_trajectory, "ALL_WITHIN", (61 + 14 * 2) * size)


@pytest.mark.usefixtures("room_for_weights")
def test_auto_keeps_all_weights_where_momentum_beside_them_does_not_fit():
    some, every, weights = (long_run(kind) for kind in (10, "all", "auto"))
    kept = weights.trajectory_
    assert kept.keep == "weights"
    assert [state.step for state in kept.states] == list(range(61))
    whole = [state.step for state in kept.states if state.is_whole]
    assert whole == [state.step for state in some.trajectory_.states]
    assert kept.stretches == some.trajectory_.stretches
    pairs = zip(kept.states, every.trajectory_.states, strict=True)
    assert all(torch.equal(state.params, other.params) for state, other in pairs)
    # steps are repeated from whole states only
    assert kept.nearest(whole[3] + 2).step == whole[3]
    for start, stop in ((whole[3] + 2,) * 2, (whole[3] + 1, whole[4] + 2)):
        for state in weights.replay(X, y, start, stop):
            assert same(state, every.trajectory_.states[state.step])


@pytest.mark.usefixtures("room_for_weights")
@pytest.mark.parametrize(
    "options",
    [{"optimizer__nesterov": True}, {"optimizer": torch.optim.AdamW, "optimizer__momentum": None}],
    ids=["nesterov", "adamw"],
)
def test_weights_alone_are_not_enough_for_every_optimizer(options):
    options = {name: value for name, value in options.items() if value is not None}
    momentum = {} if "optimizer" in options else {"optimizer__momentum": 0.9}
    clf = SAMClassifier(max_epochs=12, batch_size=10, random_state=0, lr=0.01, **options | momentum)
    assert clf.fit(X, y).trajectory_.keep == 10


@pytest.mark.usefixtures("room_for_weights")
def test_a_group_that_stays_at_rate_0_does_not_pass_the_limit():
    kept = long_run("auto", optimizer__param_groups=[("3.bias", {"lr": 0.0})]).trajectory_
    n_numbers = sum(tensor.numel() for state in kept.states for tensor in numbers_of(state))
    assert 4 * n_numbers <= _trajectory.ALL_WITHIN
    assert kept.keep == 10
    middles = {stretch.middle for stretch in kept.stretches}
    assert middles <= {state.step for state in kept.states if state.is_whole}


@pytest.mark.slow
@pytest.mark.usefixtures("room_for_weights")
def test_a_step_without_momentum_does_not_tell_the_momentum():
    """torch leaves the buffer as it is, and the next step goes on from it."""

    class Without(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            off = training and net.trajectory_.n_steps in (20, 21, 30)
            net.optimizer_.param_groups[0]["momentum"] = 0.0 if off else 0.9

    every, weights = (long_run(kind, callbacks=[Without()]) for kind in ("all", "auto"))
    assert weights.trajectory_.keep == "weights"
    assert all(weights.trajectory_.states[step].is_whole for step in (21, 22, 31))
    held_out = ValidationData(X, y)
    scores = [
        SAMInfluence(FrozenEstimator(clf), method=Unrolled(check=None), validation=held_out)
        .fit(X, y)
        .scores_
        for clf in (every, weights)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("room_for_weights")
def test_momentum_is_kept_where_the_rate_before_does_not_tell_it():
    """After a rate of 0, and before one that is many times the last."""
    rates = {20: 0.0, 30: 1e-3}
    schedule = LRScheduler(
        "LambdaLR", lr_lambda=lambda step: rates.get(step, 1.0), step_every="batch"
    )
    some, weights = (long_run(kind, callbacks=[schedule]).trajectory_ for kind in (10, "auto"))
    usual = {state.step for state in some.states}
    whole = {state.step for state in weights.states if state.is_whole}
    assert whole - usual == {21, 31} - usual
    assert {21, 31} - usual


def test_auto_keeps_ten_states_in_a_folder(tmp_path):
    clf = SAMClassifier(
        max_epochs=3, batch_size=10, random_state=0, trajectory_dir=tmp_path / "run"
    ).fit(X, y)  # fmt: skip
    assert clf.trajectory_.keep == 10


def test_more_stretches_than_steps():
    assert [(s.first, s.middle, s.last) for s in equal_stretches(0, 2, 10)] == [
        (0, 0, 1),
        (1, 1, 2),
    ]


def test_without_states_the_schedule_is_still_there():
    clf = trained(trajectory=None)
    assert clf.trajectory_.states == []
    assert clf.trajectory_.n_steps == 15
    with pytest.raises(ValueError, match='Fit it with trajectory="auto"'):
        list(clf.replay(X, y))


def test_stopping_early_leaves_stretches_that_cover_what_was_done():
    stop = EarlyStopping("train_loss", patience=2, threshold=100)
    clf = SAMClassifier(trajectory=4, max_epochs=50, batch_size=10, callbacks=[stop]).fit(X, y)
    recorded = clf.trajectory_
    assert recorded.n_steps < 50 * 5
    assert recorded.states[-1].step == recorded.stretches[-1].last == recorded.n_steps
    assert recorded.stretches[0].first == 0


def test_partial_fit_goes_on_with_the_same_trajectory():
    short = trained(optimizer__momentum=0.9).partial_fit(X, y)
    long = SAMClassifier(
        Noisy, trajectory="all", max_epochs=6, batch_size=10, random_state=0,
        optimizer__momentum=0.9,
    ).fit(X, y)  # fmt: skip
    assert all(map(same, short.trajectory_.states, long.trajectory_.states))
    assert len(short.trajectory_.states) == 31
    few = trained(trajectory=1, optimizer__momentum=0.9).partial_fit(X, y)
    assert all(map(same, few.replay(X, y), long.trajectory_.states))


def test_partial_fit_appends_stretches():
    clf = trained(trajectory=2).partial_fit(X, y)
    edges = [(s.first, s.last) for s in clf.trajectory_.stretches]
    assert edges == [(0, 8), (8, 15), (15, 22), (22, 30)]


def test_partial_fit_on_other_rows_breaks_the_trajectory():
    clf = trained().partial_fit(X[:40], y[:40])
    with pytest.raises(
        ValueError, match=r"partial_fit continued with other data \(n_samples, X, y"
    ):
        clf.replay(X, y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X[:40], y[:40]), "other data: 48 rows then, 40 now"),
        ((X + 1, y), "other data: X differ"),
        ((X, 1 - y), "other data: y differ"),
        ((X[::-1], y[::-1]), "other data: X, y differ"),
    ],
)
def test_other_data_are_refused_by_name(data, message):
    with pytest.raises(ValueError, match=message):
        trained().replay(*data)


def test_the_layout_of_memory_is_no_other_data():
    clf = trained()
    assert same(next(clf.replay(np.asfortranarray(X), y.tolist())), clf.trajectory_.states[0])


@pytest.mark.parametrize("steps", [(-1, 3), (4, 2), (0, 99)])
def test_steps_outside_the_run_are_refused(steps):
    with pytest.raises(ValueError, match="must satisfy 0 <= start <= stop <= 15"):
        trained().replay(X, y, *steps)


def test_freezing_on_the_way_breaks_the_trajectory():
    clf = trained(callbacks=[Freezer("0.*", at=2)])
    with pytest.raises(ValueError, match="frozen or unfrozen during training"):
        clf.replay(X, y)


class Once(Callback):
    """Does something to the net after its first epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 1:
            self.change(net)


def freeze(net):
    net.module_[0].weight.requires_grad_(False)


def smooth(net):
    net.criterion_ = nn.CrossEntropyLoss(label_smoothing=0.3)


def add_group(net):
    net.optimizer_.add_param_group({"params": [nn.Parameter(torch.ones(2))]})


@pytest.mark.parametrize(
    ("change", "on_the_way", "afterwards"),
    [
        (
            freeze,
            "frozen or unfrozen during training",
            "module_ were frozen or unfrozen .* '0.weight'",
        ),
        (
            smooth,
            "criterion was replaced during training",
            "criterion_ was replaced after training",
        ),
        (add_group, "group was added to the optimizer", "optimizer_ was given a parameter group"),
    ],
)
def test_what_the_steps_belong_to_stays_the_same(change, on_the_way, afterwards):
    with pytest.raises(ValueError, match=on_the_way):
        trained(callbacks=[Once(change)]).replay(X, y)
    clf = trained()
    change(clf)
    with pytest.raises(ValueError, match=afterwards):
        clf.replay(X, y)


def test_an_equal_criterion_is_the_same():
    clf = trained().set_params(criterion__label_smoothing=0.0)
    assert same(next(clf.replay(X, y)), clf.trajectory_.states[0])
    with pytest.raises(ValueError, match="criterion_ was replaced after training"):
        clf.set_params(criterion__label_smoothing=0.1).replay(X, y)


def test_arguments_for_the_module_break_the_trajectory():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(6, 2)

        def forward(self, X, scale=1.0):
            return super().forward(scale * X)

    clf = SAMClassifier(Scaled, max_epochs=1).fit(X, y, scale=2.0)
    with pytest.raises(ValueError, match="the module was given scale by fit"):
        clf.replay(X, y)


def test_random_augmentation_is_found_out():
    class Augmented(Dataset):
        def transform(self, X, y):
            return super().transform(X + np.random.normal(size=6).astype("float32"), y)

    clf = trained(dataset=Augmented)
    with pytest.raises(ValueError, match="away from the state recorded at step 1: training"):
        list(clf.replay(X, y))


class EpsOnly:
    """A user's perturbation, without a repr of its own."""

    def eps(self, w, g, rho):
        return rho * g / (1 + g.norm())


def test_a_custom_perturbation_goes_on_with_the_same_trajectory():
    X, y = tabular()[:2]
    clf = SAMClassifier(max_epochs=1, perturbation=EpsOnly(), random_state=0)
    clf.fit(X, y).partial_fit(X, y)
    assert clf.trajectory_.broken is None
    assert len(list(clf.replay(X, y))) == clf.trajectory_.n_steps + 1
