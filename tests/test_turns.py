"""Threads that train and ask at once give the bits of one after another, and none waits forever."""

import copy
import os
import threading

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import scale
from skorch.callbacks import Callback
from torch import nn

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence
from sam_attribution._jobs import in_parallel
from sam_attribution._turns import exclusive, is_pinned, released
from sam_attribution.metrics import removal_curve

X, y = load_iris(return_X_y=True)
X, y = scale(X)[::4].astype("float32"), y[::4]
SECONDS = 60  # after which a test fails that would hang otherwise


class Noisy(nn.Sequential):
    """Draws its weights and dropout masks from torch's global stream."""

    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def classifier(seed=0, **settings):
    options = {"max_epochs": 2, "lr": 0.05, "batch_size": 10, "random_state": seed, **settings}
    return SAMClassifier(Noisy, **options)


def weights_of(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach()


def at_once(*jobs):
    """Results of functions that run in a thread each, or the error of one of them."""
    found, errors, gate = [None] * len(jobs), [], threading.Barrier(len(jobs))

    def run(number):
        try:
            gate.wait(SECONDS)
            found[number] = jobs[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "a thread waits forever"
    if errors:
        raise errors[0]
    return found


@pytest.fixture(scope="module")
def fitted():
    return {
        method: SAMInfluence(classifier(), method=method, random_state=0).fit(X, y)
        for method in ("gif", "hif-fast", "unrolled")
    }


def can_compute(seconds=0.5):
    """True if a thread of its own gets its turn soon."""
    done = threading.Event()

    def compute():
        with exclusive():
            done.set()

    threading.Thread(target=compute, daemon=True).start()
    return done.wait(seconds)


def test_another_thread_waits_until_the_end():
    with exclusive(), exclusive():
        assert not can_compute(0.05)
    assert can_compute()


def test_a_released_thread_lets_others_in_and_takes_all_levels_back():
    with exclusive(), exclusive():
        with released():
            assert can_compute()
        assert not can_compute(0.05)
    assert can_compute()


def test_what_is_pinned_is_not_released():
    with exclusive(pinned=True), released():
        assert is_pinned()
        assert not can_compute(0.05)
    assert not is_pinned()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have():
    holds, end = threading.Event(), threading.Event()

    def hold():
        with exclusive():
            holds.set()
            end.wait(SECONDS)

    threading.Thread(target=hold, daemon=True).start()
    assert holds.wait(SECONDS)
    child = os.fork()
    if child == 0:
        os._exit(0 if can_compute() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    end.set()


def test_trainings_in_threads_equal_those_one_after_another():
    alone = [weights_of(classifier(seed).fit(X, y)) for seed in range(4)]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    jobs = [lambda seed=seed: weights_of(classifier(seed).fit(X, y)) for seed in range(4)]
    for found, expected in zip(at_once(*jobs), alone, strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.get_num_threads() == before[2]


def test_one_net_trained_further_by_two_threads():
    alone = classifier().fit(X, y).partial_fit(X, y).partial_fit(X, y)
    together = classifier().fit(X, y)
    at_once(*[lambda: together.partial_fit(X, y)] * 2)
    assert torch.equal(weights_of(alone), weights_of(together))


QUESTIONS = {
    "attribute": lambda influence: influence.attribute(X[:5], y[:5]),
    "label table": lambda influence: influence.transform(X[:5]),
    "own losses": lambda influence: influence.self_influence(),
    "removal": lambda influence: weights_of(influence.remove([int(influence._rows[0])])),
    "diagnosis": lambda influence: copy.copy(influence).diagnose()["value"].to_numpy(),
}


@pytest.mark.parametrize(
    "question",
    [pytest.param(q, marks=pytest.mark.slow) if q == "own losses" else q for q in QUESTIONS],
)
def test_one_object_asked_by_four_threads(fitted, question):
    influence = fitted["gif"]
    influence._rows = np.flatnonzero(~np.isnan(influence.scores_))
    ask = lambda: np.asarray(QUESTIONS[question](influence))  # noqa: E731
    expected = ask()
    for found in at_once(ask, ask, ask, ask):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_two_methods_a_training_a_detector_and_a_replay_at_once(fitted):
    net = fitted["gif"].estimator_
    rows = fitted["gif"].attributions_[0].trained.split.train
    jobs = [
        lambda: fitted["hif-fast"].attribute(X[:5], y[:5]),
        lambda: fitted["unrolled"].attribute(X[:5], y[:5]),
        lambda: weights_of(classifier(1).fit(X, y)),
        lambda: MislabelDetector(classifier(2), random_state=0).fit(X, y).scores_,
        lambda: torch.stack([state.params for state in net.replay(X[rows], y[rows])]),
    ]
    alone = [np.asarray(job()) for job in jobs]
    for found, expected in zip(at_once(*jobs), alone, strict=True):
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_a_replay_lets_others_in_while_its_reader_has_control():
    net = classifier().fit(X, y)
    expected = [state.params for state in net.replay(X, y)]
    before = torch.get_rng_state()
    found = []
    for state in net.replay(X, y):
        found.append(state.params)
        assert torch.equal(torch.get_rng_state(), before)
        if len(found) < 3:
            assert can_compute()
    assert all(map(torch.equal, found, expected))


@pytest.mark.slow
def test_joblib_threads_inside_of_threads():
    """Who waits for others lets them in, at every level."""

    def scored():
        with parallel_config(backend="threading", n_jobs=2):
            influence = SAMInfluence(classifier(max_epochs=1), batch_size=5, random_state=0)
            return influence.fit(X, y).scores_

    expected = SAMInfluence(classifier(max_epochs=1), random_state=0).fit(X, y).scores_
    for found in at_once(scored, scored, scored):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_parallel_work_inside_of_parallel_work():
    def evaluate(kept):
        inner = in_parallel(pow, ({"base": 2, "exp": n} for n in range(3)), n_jobs=2)
        return sum(inner)

    def curve():
        with parallel_config(backend="threading", n_jobs=2):
            return removal_curve(np.arange(10.0), evaluate, n_random=1, random_state=0)

    (table,) = at_once(curve)
    assert (table["value"] == 7).all()


class Counting(Callback):
    def on_epoch_end(self, net, **kwargs):
        jobs = ({"base": 2, "exp": n} for n in range(3))
        with parallel_config(backend="threading", n_jobs=2):
            self.found = list(in_parallel(pow, jobs, n_jobs=2))


def test_parallel_work_in_a_callback_leaves_the_random_streams_to_the_training():
    callback = Counting()
    net = classifier(callbacks=[("counting", callback)])
    (found,) = at_once(lambda: weights_of(net.fit(X, y)))
    assert dict(net.callbacks_)["counting"].found == [1, 2, 4]
    assert torch.equal(found, weights_of(classifier().fit(X, y)))


def test_folds_in_threads():
    net = classifier(max_epochs=3)
    expected = cross_val_score(net, X, y, cv=4)

    def in_threads():
        with parallel_config(backend="threading", n_jobs=4):
            return cross_val_score(net, X, y, cv=4, n_jobs=4)

    (found,) = at_once(in_threads)
    np.testing.assert_array_equal(found, expected)
