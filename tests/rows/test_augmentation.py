"""Rows with random transforms: the same ones whenever they are read in one epoch."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.nn.functional import cross_entropy

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution._rows import as_source
from sam_attribution.methods import GIF, TRAK
from sam_attribution.training import derived_seed
from tests.rows.data import Noisy, OneInput, Rows, X, Y, gradient_at, net, weights_of

HELD_OUT = ValidationData(Rows())


def test_a_row_read_twice_in_an_epoch_is_the_same_row():
    rows = as_source(Noisy()).seeded(3)
    streams = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = rows[[4, 5, 6]]
    assert torch.equal(rows[[6, 4]], first[[2, 0]])
    assert torch.equal(rows.part([5, 6])[[0]], first[[1]])
    assert torch.equal(rows.at_epoch(0)[[4, 5, 6]], first)
    assert not torch.isclose(rows.at_epoch(1)[[4, 5, 6]], first).any()
    assert not torch.isclose(rows.seeded(4)[[4, 5, 6]], first).any()
    assert torch.equal(torch.get_rng_state(), streams[0])
    np.testing.assert_array_equal(np.random.get_state()[1], streams[1])


class SometimesNoisy(Noisy):
    """One row draws random numbers, the others do not."""

    def __getitem__(self, i):
        return super().__getitem__(i) if i == 7 else Rows.__getitem__(self, i)


def test_rows_of_which_only_some_are_random():
    rows = as_source(SometimesNoisy()).seeded(0)
    before = rows[[1, 2]]
    row = rows[[7]]
    assert torch.equal(rows[[3, 7, 8]][1:2], row)
    assert torch.equal(rows[[1, 2]], before)


def by_hand(dataset, seed, rho=0.05, lr=0.1):
    """Parameters after each step of a SAM training that reads epoch e in epoch e."""
    clf = net().fit(dataset)
    module = OneInput()
    module.load_state_dict(clf.module_.state_dict())
    rows = as_source(dataset).seeded(seed)
    state = clf.trajectory_.states[0]
    torch.nn.utils.vector_to_parameters(state.params.clone(), module.parameters())
    for number, step in enumerate(clf.trajectory_.schedule):
        batch, labels = rows.at_epoch(number // 5)[step.indices], torch.tensor(Y[step.indices])
        w = [p.detach().clone() for p in module.parameters()]
        gradient = torch.autograd.grad(cross_entropy(module(batch), labels), module.parameters())
        norm = torch.cat([g.flatten() for g in gradient]).norm()
        with torch.no_grad():
            for p, g in zip(module.parameters(), gradient, strict=True):
                p += rho * g / norm
        gradient = torch.autograd.grad(cross_entropy(module(batch), labels), module.parameters())
        with torch.no_grad():
            for p, before, g in zip(module.parameters(), w, gradient, strict=True):
                p.copy_(before - lr * g)
    return clf, torch.nn.utils.parameters_to_vector(module.parameters()).detach()


def test_training_and_replay_read_the_epoch_of_the_step():
    dataset = Noisy()
    clf, expected = by_hand(dataset, net().fit(dataset).trajectory_.seed)
    torch.testing.assert_close(weights_of(clf), expected, rtol=0, atol=1e-6)
    states = list(clf.replay(dataset, Y))
    assert len(states) == 11
    assert torch.equal(states[-1].params, weights_of(clf))
    assert not torch.allclose(weights_of(clf), weights_of(net().fit(X, Y)), atol=1e-3)


def batches_and_stretches(trajectory):
    """Rows, state and rate over the number of rows: of each step, and of recorded stretches."""
    steps = [(step.indices, number, 1) for number, step in enumerate(trajectory.schedule)]
    stretches = [(np.arange(len(X)), s.middle, s.last - s.first) for s in trajectory.stretches]
    return {None: steps, "recorded": stretches}


@pytest.mark.parametrize("n_checkpoints", [pytest.param(None, marks=pytest.mark.slow), "recorded"])
def test_scores_along_training_read_the_epoch_of_each_state(n_checkpoints):
    dataset, lr = Noisy(), 0.1
    trajectory = 4 if n_checkpoints else "all"
    clf = net(rho=0.0, trajectory=trajectory, dtype="float64", max_epochs=3)
    method = GIF(n_checkpoints=n_checkpoints)
    influence = SAMInfluence(clf, method=method, validation=HELD_OUT, random_state=0).fit(dataset)
    trained = influence.estimator_
    module, run = trained.module_, trained.trajectory_
    rows = as_source(dataset).seeded(run.seed).to_dtype(torch.float64)
    states, expected = {state.step: state.params for state in run.states}, np.zeros(len(X))
    held_out = torch.tensor(X).double(), torch.tensor(Y)
    final = gradient_at(module, weights_of(trained), *held_out)
    for members, step, n_steps in batches_and_stretches(run)[n_checkpoints]:
        batch = rows.at_epoch(step // 5)[members]
        for i, row in zip(members, batch, strict=True):
            own = gradient_at(module, states[step], row[None], torch.tensor(Y[[i]]))
            expected[i] += lr * n_steps * float(final @ own) / len(members)
    np.testing.assert_allclose(influence.scores_, expected, rtol=1e-6, atol=1e-12)


METHODS = [GIF(n_checkpoints=2), TRAK(n_checkpoints=1), "unrolled"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_processes_that_read_give_the_same_bits(method):
    scores = [
        SAMInfluence(
            net(iterator_train__num_workers=n, trajectory=2, batch_size=20, max_epochs=2),
            method=method,
            validation=HELD_OUT,
            batch_size=20,
            random_state=0,
        )
        .fit(Noisy())
        .scores_
        for n in (0, 2)
    ]
    np.testing.assert_array_equal(*scores)


@pytest.mark.slow
def test_processes_that_stay_read_the_next_epoch():
    loader = {"iterator_train__num_workers": 1, "iterator_train__persistent_workers": True}
    assert torch.equal(weights_of(net(**loader).fit(Noisy())), weights_of(net().fit(Noisy())))


def test_the_final_model_is_judged_by_the_rows_of_the_last_epoch():
    influence = SAMInfluence(net(), method="grad-dot", validation=HELD_OUT, random_state=0)
    influence.fit(Noisy())
    problem = influence.attributions_[0].problem
    rows = as_source(Noisy()).seeded(influence.estimator_.trajectory_.seed)
    assert torch.equal(problem.X[[3, 8]], rows.at_epoch(1)[[3, 8]])
    assert torch.equal(problem.at_epoch(0).X[[3, 8]], rows[[3, 8]])


@pytest.mark.slow
def test_a_detector_repeats_its_scores():
    first, again = (MislabelDetector(net(), random_state=0).fit(Noisy()).scores_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_going_on_reads_the_next_epochs():
    whole = net(max_epochs=3).fit(Noisy())
    twice = net(max_epochs=2).fit(Noisy()).partial_fit(Noisy(), epochs=1)
    assert torch.equal(weights_of(whole), weights_of(twice))


class OwnGenerator(Rows):
    """Noise from a generator that nobody else can seed."""

    generator = np.random.default_rng(0)

    def __getitem__(self, i):
        return self.X[i] + self.generator.normal(), self.y[i]


def test_rows_that_are_others_each_time_are_refused():
    with pytest.raises(ValueError, match="gives other items when it is read again"):
        SAMInfluence(net(), random_state=0).fit(OwnGenerator())


def test_other_rows_are_not_those_of_training():
    clf = net().fit(Noisy())
    with pytest.raises(ValueError, match="recorded on other data: X differ"):
        next(clf.replay(Noisy(X + 1), Y))
    assert derived_seed(clf.trajectory_.seed, 0) >= 0


class Stopping(Callback):
    """An error after the second epoch."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("no more current")


def test_a_run_that_broke_off_goes_on_with_the_rows_of_its_epochs(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="no more current"):
        net(max_epochs=3, trajectory_dir=folder, callbacks=[Stopping]).fit(Noisy())
    settings = {"module": OneInput, "callbacks": [("Stopping", None)]}
    resumed = SAMClassifier.resume(folder, Noisy(), **settings)
    assert torch.equal(weights_of(resumed), weights_of(net(max_epochs=3).fit(Noisy())))
    assert len(list(resumed.replay(Noisy()))) == 16
