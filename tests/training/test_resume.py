"""A run that dies and is taken up again is, bit for bit, the run that lived."""

import copy
import json
import multiprocessing
import multiprocessing.forkserver
import os
import random
import re
import sys
import time

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts
from torch.utils.data import RandomSampler

from sam_attribution.exceptions import AttributionWarning
from sam_attribution.training import SAMClassifier
from sam_attribution.training.storage._store import Store
from sam_attribution.training.storage._writing import PARTIAL
from tests.training.killed_runs import RUNS, Dropping, Plain, X, take_up, train, weights, y

RANDOM = np.random.default_rng()  # the moment depends on the machine anyway


@pytest.fixture(scope="module")
def processes():
    """Processes that start quickly, each forked from one that has imported everything."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.killed_runs"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.forkserver.ensure_running()
    return context


@pytest.fixture(scope="module")
def whole(processes, tmp_path_factory):
    """For a run: what it leaves if nobody kills it, and how long it trains."""
    known = {}

    def live(run):
        if run not in known:
            folder = tmp_path_factory.mktemp("whole")
            known[run] = folder / "result.npz", completed(processes, train, run, folder)
        return known[run]

    return live


def completed(processes, target, run, folder):
    """Let a process come to its end; return the seconds that it trained."""
    process = processes.Process(target=target, args=(run, folder / "run", folder / "result.npz"))
    process.start()
    process.join()
    assert process.exitcode == 0
    began = (folder / "run" / "epoch-000000.safetensors").stat().st_mtime
    return (folder / "run" / "manifest.json").stat().st_mtime - began


def kill(processes, target, run, folder, seconds):
    """Kill with signal 9, so many seconds after the manifest named a first checkpoint."""
    process = processes.Process(target=target, args=(run, folder / "run", folder / "dead.npz"))
    process.start()
    while not names_a_checkpoint(folder / "run" / "manifest.json"):
        assert process.is_alive()
        time.sleep(0.0005)
    time.sleep(seconds)
    process.kill()
    process.join()


def names_a_checkpoint(manifest):
    """True once a run can be resumed; it is replaced as a whole, so it is never half a file."""
    return manifest.exists() and json.loads(manifest.read_text())["checkpoint"] is not None


def assert_same_content(path, other):
    found, expected = np.load(path), np.load(other)
    assert set(found) == set(expected)
    for name in expected:
        assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(2))
@pytest.mark.parametrize("run", RUNS)
def test_killed_at_a_random_moment(processes, whole, tmp_path, run, moment):
    result, seconds = whole(run)
    kill(processes, train, run, tmp_path, seconds * RANDOM.uniform(moment, moment + 1) / 2)
    completed(processes, take_up, run, tmp_path)
    assert_same_content(tmp_path / "result.npz", result)


@pytest.mark.slow
def test_killed_again_and_again(processes, whole, tmp_path):
    result, seconds = whole("plateau, adamw")
    for target in (train, take_up, take_up):
        kill(processes, target, "plateau, adamw", tmp_path, seconds * RANDOM.uniform(0, 0.5))
    completed(processes, take_up, "plateau, adamw", tmp_path)
    assert_same_content(tmp_path / "result.npz", result)


class Death(BaseException):
    pass


def dies_at(n, monkeypatch):
    """From its n-th file on, nothing is written any more: the last one half."""
    write, left = Store._write, [n]

    def dying(store, file, data):
        left[0] -= 1
        if left[0] < 0:
            store.folder.mkdir(exist_ok=True)
            (store.folder / f"{file}{PARTIAL}").write_bytes(data[: len(data) // 2])
            raise Death
        write(store, file, data)

    monkeypatch.setattr(Store, "_write", dying)


def classifier(folder, **params):
    settings = {"trajectory": 2, "max_epochs": 3, "batch_size": 20, "random_state": 0, **params}
    return SAMClassifier(trajectory_dir=folder, **settings)


def assert_same_run(clf, other):
    assert torch.equal(*(p.module_.state_dict()["1.weight"] for p in (clf, other)))
    np.testing.assert_array_equal(*(weights(p.module_.state_dict()) for p in (clf, other)))
    first, second = clf.trajectory_, other.trajectory_
    assert [s.step for s in first.states] == [s.step for s in second.states]
    for state, its_twin in zip(first.states, second.states, strict=True):
        assert torch.equal(state.params, its_twin.params)
        torch.testing.assert_close(state.optimizer, its_twin.optimizer, rtol=0, atol=0)
    assert first.stretches == second.stretches
    for step, its_twin in zip(first.schedule, second.schedule, strict=True):
        assert (step.indices == its_twin.indices).all()
        assert step.rates == its_twin.rates
        assert step.settings == its_twin.settings
        assert step.perturbation_norm == its_twin.perturbation_norm
    assert without_times(clf.history) == without_times(other.history)


def without_times(history):
    return [{k: v for k, v in row.items() if k != "dur"} for row in history]


@pytest.mark.slow
def test_dead_at_every_single_file(tmp_path, monkeypatch):
    momentum = {"optimizer__momentum": 0.9}
    lived = classifier(tmp_path / "whole", **momentum).fit(X, y)
    # the first manifest, 5 commits of 3 files, 4 states
    for n in range(4, 1 + 5 * 3 + 4):
        with monkeypatch.context() as patch:
            dies_at(n, patch)
            with pytest.raises(Death):
                classifier(tmp_path / str(n), **momentum).fit(X, y)
        assert_same_run(SAMClassifier.resume(tmp_path / str(n), X, y), lived)
        assert not list((tmp_path / str(n)).glob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("n", range(4))
def test_dead_before_training_began(tmp_path, monkeypatch, n):
    with monkeypatch.context() as patch:
        dies_at(n, patch)
        with pytest.raises(Death):
            classifier(tmp_path).fit(X, y)
    nothing = r"manifest\.json (is missing|has no checkpoint).*[Cc]all fit"
    with pytest.raises(ValueError, match=nothing):
        SAMClassifier.resume(tmp_path, X, y)
    classifier(tmp_path).fit(X, y)  # what lies there is in nobody's way


CALLBACKS = {
    "early stopping": lambda: [EarlyStopping("train_loss", patience=2, threshold=10)],
    "best weights": lambda: [EarlyStopping("train_loss", patience=2, threshold=10, load_best=True)],
    "scoring": lambda: [EpochScoring("accuracy", on_train=True, lower_is_better=False)],
    "frozen": lambda: [Freezer("0.*")],
    "cyclic": lambda: [LRScheduler("CyclicLR", base_lr=0.01, max_lr=0.2, step_every="batch")],
    "cosine": lambda: [LRScheduler(CosineAnnealingWarmRestarts, T_0=2)],
    "lambda": lambda: [LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.9**epoch)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_go_on(tmp_path, monkeypatch, name):
    settings = {"module": Dropping, "train_split": ValidSplit(4), "optimizer": torch.optim.Adam}
    params = {**settings, "max_epochs": 6, "lr": 0.05}
    lived = classifier(tmp_path / "whole", callbacks=CALLBACKS[name](), **params).fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(13, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", callbacks=CALLBACKS[name](), **params).fit(X, y)
    resumed = SAMClassifier.resume(tmp_path / "dead", X, y, callbacks=CALLBACKS[name](), **settings)
    assert_same_run(resumed, lived)


class Shrunk(Callback):
    """Puts other weights in the place of the trained ones when training ends."""

    def on_train_end(self, net, **kwargs):
        for parameter in net.module_.parameters():
            parameter.data.mul_(0.9)


def test_a_finished_run_is_read_and_its_end_not_repeated(tmp_path):
    lived = classifier(tmp_path, callbacks=[Shrunk()]).fit(X, y)
    read = SAMClassifier.resume(tmp_path, X, y, callbacks=[Shrunk()])
    ours, theirs = (net.module_.state_dict() for net in (lived, read))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read.trajectory_.moved_by == lived.trajectory_.moved_by == {"Shrunk": 9}


def test_a_seed_that_a_random_state_instance_drew_goes_on(tmp_path, monkeypatch):
    stream = {"random_state": np.random.RandomState(3)}
    lived = classifier(tmp_path / "whole", random_state=np.random.RandomState(3)).fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(11, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", **stream).fit(X, y)
    assert_same_run(SAMClassifier.resume(tmp_path / "dead", X, y), lived)
    assert_same_run(SAMClassifier.resume(tmp_path / "dead", X, y, **stream), lived)


class Shaken(nn.Sequential):
    """Draws from Python's global stream in training."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(X[0].size, 2))

    def forward(self, inputs):
        return super().forward(inputs * (1 + 0.1 * random.random()) if self.training else inputs)


def test_pythons_random_stream_goes_on(tmp_path, monkeypatch):
    lived = classifier(tmp_path / "whole", module=Shaken).fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(11, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", module=Shaken).fit(X, y)
    assert_same_run(SAMClassifier.resume(tmp_path / "dead", X, y, module=Shaken), lived)


class Growing(Callback):
    """Raises rho from epoch to epoch."""

    def on_epoch_end(self, net, **kwargs):
        net.rho = 1.5 * net.rho


def test_a_radius_changed_on_the_way_stays_changed(tmp_path, monkeypatch):
    lived = classifier(tmp_path / "whole", callbacks=[Growing()]).fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(12, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", callbacks=[Growing()]).fit(X, y)
    resumed = SAMClassifier.resume(tmp_path / "dead", X, y, callbacks=[Growing()])
    assert_same_run(resumed, lived)
    assert len({step.rho for step in resumed.trajectory_.schedule}) == 3


class Counting(Callback):
    """Holds something that is no data, and not what a new one holds."""

    def on_epoch_end(self, net, **kwargs):
        self.epochs = (epoch for epoch in range(len(net.history)))


def test_a_callback_that_holds_more_than_data_is_refused_by_name(tmp_path):
    classifier(tmp_path, callbacks=[("counting", Counting())]).fit(X, y)
    with pytest.raises(ValueError, match=r"'counting' cannot be resumed: its attribute 'epochs'"):
        SAMClassifier.resume(tmp_path, X, y, callbacks=[("counting", Counting())])


def test_a_finished_run_is_read(tmp_path):
    clf = classifier(tmp_path).fit(X, y)
    files = sorted(os.listdir(tmp_path))
    read = SAMClassifier.resume(tmp_path, X, y)
    assert_same_run(read, clf)
    assert sorted(os.listdir(tmp_path)) == files
    assert (read.classes_ == ["down", "up"]).all()
    assert (read.predict(X) == clf.predict(X)).all()


def test_partial_fit_goes_on_after_resume(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    stayed = classifier(one).fit(X, y).partial_fit(X, y)
    classifier(other).fit(X, y)
    resumed = SAMClassifier.resume(other, X, y).partial_fit(X, y)
    assert_same_run(resumed, stayed)
    assert_same_run(SAMClassifier.resume(other, X, y), stayed)


def test_states_on_disk_are_those_in_memory(tmp_path):
    params = {"module": Dropping, "optimizer__momentum": 0.9}
    there, here = classifier(tmp_path, **params).fit(X, y), classifier(None, **params).fit(X, y)
    assert_same_run_of_any_module(there, here)
    assert there.trajectory_.nearest(5).step == here.trajectory_.nearest(5).step
    for state, its_twin in zip(there.replay(X, y), here.replay(X, y), strict=True):
        assert torch.equal(state.params, its_twin.params)


def assert_same_run_of_any_module(clf, other):
    for state, its_twin in zip(clf.trajectory_.states, other.trajectory_.states, strict=True):
        assert torch.equal(state.params, its_twin.params)
        for name, buffer in its_twin.buffers.items():
            assert torch.equal(state.buffers[name], buffer)


def test_an_instance_may_come_with_other_weights(tmp_path, monkeypatch):
    module = Plain()
    lived = classifier(tmp_path / "whole", module=copy.deepcopy(module)).fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(11, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", module=module).fit(X, y)
    resumed = SAMClassifier.resume(tmp_path / "dead", X, y, module=Plain())
    assert_same_run_of_any_module(resumed, lived)
    assert (resumed.predict_proba(X) == lived.predict_proba(X)).all()


REFUSALS = {
    "other rows": ({"X": X + 1}, {}, "manifest.json was recorded on other data: X differ"),
    "other labels": ({"y": y[::-1]}, {}, "other data: y differ"),
    "fewer rows": ({"X": X[:40], "y": y[:40]}, {}, "other data: 60 rows then, 40 now"),
    "weights": ({"sample_weight": np.ones(60)}, {}, "other data: sample_weight differ"),
    "settings": ({}, {"lr": 0.2}, "manifest.json belongs to a run with other settings: lr differ"),
    "module": ({}, {"module": Plain}, "other settings: module differ"),
    "instance": ({}, {"module": nn.Linear(6, 3)}, "other settings: module differ"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSALS)
def test_another_run_is_refused_by_name(tmp_path, what):
    data, settings, message = REFUSALS[what]
    classifier(tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=message):
        SAMClassifier.resume(tmp_path, **{"X": X, "y": y, **data}, **settings)


def test_objects_that_were_not_passed_again_are_named(tmp_path):
    classifier(tmp_path, module=Dropping, optimizer=torch.optim.AdamW).fit(X, y)
    with pytest.raises(ValueError, match=r"module, optimizer differ .* Pass them to resume"):
        SAMClassifier.resume(tmp_path, X, y)


def test_another_class_is_refused(tmp_path):
    class Own(SAMClassifier):
        pass

    classifier(tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=r"manifest.json is the run of a SAMClassifier"):
        Own.resume(tmp_path, X, y)


def test_a_sampler_of_ones_own_is_refused(tmp_path):
    sampler = RandomSampler(X, generator=torch.Generator().manual_seed(0))
    order = {"iterator_train__sampler": sampler, "iterator_train__shuffle": False}
    classifier(tmp_path, **order).fit(X, y)
    with pytest.raises(ValueError, match="the position of iterator_train__sampler is not stored"):
        SAMClassifier.resume(
            tmp_path, X, y, iterator_train__sampler=sampler, iterator_train__shuffle=False
        )


def test_a_broken_run_is_refused(tmp_path):
    classifier(tmp_path).fit(X, y).partial_fit(X[:40], y[:40])
    with pytest.raises(
        ValueError, match="cannot be resumed: partial_fit continued with other data"
    ):
        SAMClassifier.resume(tmp_path, X[:40], y[:40])


def of_other_circumstances(patch, what):
    """Let torch seem to have another version or number of threads; return the words for it."""
    if what == "version":
        version = re.escape(torch.__version__)
        patch.setattr(torch, "__version__", "9.9")
        return rf"manifest.json was written with torch {version}"
    n_threads = torch.get_num_threads()
    patch.setattr(torch, "get_num_threads", lambda: n_threads + 1)
    return rf"manifest.json was written .*{n_threads} threads"


@pytest.mark.parametrize("what", ["version", "threads"])
def test_other_versions_and_threads_are_refused(tmp_path, monkeypatch, what):
    with monkeypatch.context() as patch:
        dies_at(7, patch)
        with pytest.raises(Death):
            classifier(tmp_path).fit(X, y)
    message = of_other_circumstances(monkeypatch, what)
    with pytest.raises(ValueError, match=message):
        SAMClassifier.resume(tmp_path, X, y)


@pytest.mark.parametrize("what", ["version", "threads"])
def test_with_other_versions_and_threads_a_finished_run_is_read(tmp_path, monkeypatch, what):
    clf = classifier(tmp_path).fit(X, y)
    message = of_other_circumstances(monkeypatch, what)
    with pytest.warns(AttributionWarning, match=rf"{message}.* replay may not repeat it bit for"):
        read = SAMClassifier.resume(tmp_path, X, y)
    assert_same_run(read, clf)
