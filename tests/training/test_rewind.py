"""States from the last to the first: the right ones, few at once, each step seldom repeated."""

import math
import weakref
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution.training import SAMClassifier, equal_stretches, rewind
from sam_attribution.training._replay import Replay
from sam_attribution.training._trajectory import State

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 4)).astype("float32")
y = (X[:, 0] > 0).astype(int)


def trained(trajectory, n_steps, **params):
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, 2))
    torch.manual_seed(0)
    return SAMClassifier(
        net, trajectory=trajectory, batch_size=4, max_epochs=n_steps // 12, random_state=0,
        optimizer__momentum=0.9, **params,
    ).fit(X, y)  # fmt: skip


class Watched(Replay):
    """Counts the steps that are repeated, and the states that are alive at once."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.repeated = Counter()
        self.most = 0
        self._alive = weakref.WeakSet()

    def _repeat_step(self, number):
        self.repeated[number] += 1
        super()._repeat_step(number)

    def states(self, *args):
        for state in super().states(*args):
            state = Tracked(**vars(state))
            self._alive.add(state)
            self.most = max(self.most, len(self._alive))
            yield state


class Tracked(State):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


def rewound(clf, **options):
    """Steps in the order in which they come, whether all states are right, and the replay."""
    replay = Watched(clf, *clf.as_trained(X, y), **options)
    every = list(clf.replay(X, y))
    steps, same = [], True
    for after, before in pairwise(rewind(replay)):  # as a sweep does
        for state in (before,) if steps else (after, before):
            wanted = every[state.step]
            steps.append(state.step)
            same &= torch.equal(state.params.to(wanted.params), wanted.params)
            variance = state.buffers["1.running_var"].float()
            same &= torch.equal(variance, wanted.buffers["1.running_var"])
        del state
    return steps, bool(same), replay


@pytest.mark.slow
@pytest.mark.parametrize("trajectory", [1, 2, 5, 40, "all"])
@pytest.mark.parametrize("n_steps", [12, 72])
def test_every_state_comes_once_bit_for_bit_and_few_are_held(trajectory, n_steps):
    clf = trained(trajectory, n_steps)
    steps, same, replay = rewound(clf, exact=True)
    assert steps == list(range(n_steps, -1, -1))
    assert same
    if len(clf.trajectory_.states) == n_steps + 1:
        assert not replay.repeated
    else:
        assert replay.most <= 2 * n_steps**0.5
        assert max(replay.repeated.values()) <= 2
        # the replay that a sweep costs: at most two trainings
        assert sum(replay.repeated.values()) <= (2 if trajectory in (1, 2) else 1.5) * n_steps


class Counted:
    """Stands for the replay of a long run: knows steps only, and the most that were alive."""

    def __init__(self, n_steps, n_kept):
        self.n_steps = n_steps
        self.kept_steps = {0}
        if n_kept:
            middles = {each.middle for each in equal_stretches(0, n_steps, n_kept)}
            self.kept_steps |= middles | {n_steps}
        self.most = 0
        self._alive = weakref.WeakSet()

    def states(self, start, stop, origin=None):
        for step in range(start, stop + 1):
            state = Tracked(step, None, {}, {})
            self._alive.add(state)
            self.most = max(self.most, len(self._alive))
            yield state
            del state


@pytest.mark.parametrize("n_kept", [0, 1, 2, 5, 10])
def test_whoever_goes_in_pairs_holds_few_states_however_long_the_run(n_kept):
    for n_steps in [*range(1, 150), 1000]:
        replay = Counted(n_steps, n_kept)
        numbers = [(after.step, before.step) for after, before in pairwise(rewind(replay))]
        assert numbers == [(t + 1, t) for t in reversed(range(n_steps))]
        if n_steps > 3:  # with fewer there is nothing to save
            assert replay.most <= math.ceil(2 * n_steps**0.5) + (0 if n_kept else 2), n_steps


@pytest.mark.slow
def test_in_double_precision_the_run_is_gone_through_from_its_start():
    clf = trained(5, 48)
    replay = Watched(clf, *clf.as_trained(X, y), dtype="float64")
    states = list(rewind(replay))
    assert [state.step for state in states] == list(range(48, -1, -1))
    assert all(state.params.dtype == torch.float64 for state in states)
    for state, wanted in zip(reversed(states), clf.replay(X, y), strict=True):
        torch.testing.assert_close(state.params.float(), wanted.params, atol=1e-5, rtol=1e-5)
    assert torch.equal(states[-1].params.float(), clf.trajectory_.states[0].params)
    _, _, replay = rewound(clf, dtype="float64")
    assert replay.most <= 2 * 48**0.5 + 2


@pytest.mark.slow
def test_in_double_precision_every_state_is_of_the_run_from_the_first():
    clf = trained(5, 48)
    alone = next(clf.replayer(X, y, dtype="float64").states(45, 45))
    *_, along = clf.replayer(X, y, dtype="float64").states(0, 45)
    assert torch.equal(alone.params, along.params)


def test_a_changed_final_state_is_noticed():
    clf = trained(2, 12)
    clf.trajectory_.states[-1].params[0] += 1e-6
    with pytest.raises(ValueError, match="Replay is not deterministic"):
        next(rewind(Watched(clf, *clf.as_trained(X, y), exact=True)))
    assert next(rewind(Watched(clf, *clf.as_trained(X, y)))).step == 12
