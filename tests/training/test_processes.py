"""Training in two processes: one run, whose record one process can ask."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn
from torch.nn.functional import cross_entropy

pytest.importorskip("accelerate")
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from skorch.callbacks import Callback

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.methods import GIF, HIF, TRAK, TracIn, Unrolled
from sam_attribution.methods._rates import plain_rates
from sam_attribution.problem import problem_from_estimator
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.training import derived_seed
from sam_attribution.training._alone import of_one_process
from sam_attribution.training._processes import (
    check_alone,
    check_processes,
    shared_epoch,
)
from sam_attribution.training._trajectory import Trajectory
from sam_attribution.training.storage._packing import from_bytes, to_bytes
from sam_attribution.training.storage._schedule_data import (
    schedule_as_data,
    schedule_of,
)
from tests.training import two_processes
from tests.training.two_processes import SETTINGS, WEIGHTS, Net

pytestmark = pytest.mark.xdist_group("processes")  # two of them are started once
X, y = two_processes.rows()
HELD_OUT = ValidationData(X[:20], y[:20])
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """The state of accelerate is one for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes found, by gloo on the CPU."""
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("needs gloo")
    folder = tmp_path_factory.mktemp("processes")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = ["-m", two_processes.__name__, str(folder)]
    command = [*launcher, "--nproc-per-node", "2", *script]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = {"capture_output": True, "text": True, "timeout": 180}
    done = subprocess.run(command, cwd=ROOT, env=environment, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """Numbers of each process."""
    return [dict(np.load(folder / f"{process}.npz")) for process in range(2)]


@pytest.fixture(scope="module")
def nets(folder):
    """Of each process: the net with even batches, and that with uneven ones."""
    return [pickle.loads((folder / f"{process}.pkl").read_bytes()) for process in range(2)]


@pytest.fixture(scope="module")
def by_one():
    settings = {**SETTINGS, "batch_size": 2 * two_processes.BATCH_SIZE}
    return SAMClassifier(**settings).fit(X, y)


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_of_twice_the_size(found, nets, by_one):
    losses = by_one.history[:, "train_loss"]
    for each, (net, _) in zip(found, nets, strict=True):
        assert each["n_processes"] == 2
        np.testing.assert_allclose(each["weights"], two_processes.flat(by_one), rtol=0, atol=3e-8)
        probabilities = by_one.predict_proba(X)
        np.testing.assert_allclose(each["probabilities"], probabilities, rtol=0, atol=1e-6)
        np.testing.assert_allclose(each["history"], losses, rtol=1e-6)
        rows = np.concatenate([step.indices for step in net.trajectory_.schedule])
        assert (np.bincount(rows) == SETTINGS["max_epochs"]).all()


METHODS = {
    "gif": GIF(),
    "tracin": TracIn(),
    "self-influence": "self-influence",
    "trak": TRAK(n_checkpoints="recorded", random_state=0),
    "hif-fast": HIF("fast", damping=0.1),
}


def assert_equal_scores(scores, expected):
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.slow
@pytest.mark.filterwarnings("error::sam_attribution.exceptions.AttributionWarning")
@pytest.mark.parametrize("method", METHODS)
def test_scores_of_the_pickled_net_are_those_of_one_process(method, nets, by_one):
    scores, expected = (
        SAMInfluence(FrozenEstimator(net), method=METHODS[method], validation=HELD_OUT)
        .fit(X, y)
        .scores_
        for net in (nets[0][0], by_one)
    )
    assert_equal_scores(scores, expected)


@pytest.mark.slow
def test_the_detector_takes_the_pickled_net(nets, by_one):
    scores, expected = (
        MislabelDetector(FrozenEstimator(net), validation=HELD_OUT).fit(X, y).scores_
        for net in (nets[0][0], by_one)
    )
    assert_equal_scores(scores, expected)


@pytest.mark.slow
def test_one_of_the_two_processes_can_ask_alone(found, by_one):
    for scores, expected in zip(
        found[0]["scores"], two_processes.scores_of(by_one, X, y), strict=True
    ):
        assert_equal_scores(scores, expected)
    edited = two_processes.without_first(by_one, X, y)
    np.testing.assert_allclose(found[0]["edited"], edited, rtol=0, atol=1e-6)
    assert np.abs(edited - two_processes.flat(by_one)).max() > 1e-4


REFUSED = {
    "unrolled": (Unrolled(check=None), '"unrolled"'),
    "loo": (LeaveOneOut(rows=[0]), '"loo"'),
    "every step": (GIF(n_checkpoints=None), "n_checkpoints=None"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_a_replay_is_refused_by_name(case, nets):
    method, name = REFUSED[case]
    influence = SAMInfluence(FrozenEstimator(nets[0][0]), method=method, validation=HELD_OUT)
    with pytest.raises(ValueError, match=f"{name}.* in 2 processes.*batch_size=32.*gif.*hif"):
        influence.fit(X, y)


def test_a_run_of_several_processes_is_not_replayed():
    net = SAMClassifier(batch_size=16, trajectory=2, **SETTINGS).fit(X, y)
    schedule = net.trajectory_.schedule
    schedule[:] = [replace(step, per_process=(10, 6)) for step in schedule]
    with pytest.raises(ValueError, match=r"replay needs .* 2 processes.*batch_size=16"):
        net.replay(X, y)
    path = problem_from_estimator(net, X, y).path
    assert len(list(path.checkpoints("recorded", plain_rates(path)))) == 2
    with pytest.raises(ValueError, match="a state that was not recorded needs"):
        list(path.checkpoints(4, plain_rates(path)))
    with pytest.raises(ValueError, match="training again from another seed needs"):
        path.trained_again(0)


@pytest.mark.slow
def test_both_processes_have_the_same_record(found, nets):
    """Also of buffers, though each has seen its own rows, and of a seed that one drew."""
    (_, one), (_, other) = nets
    assert one.trajectory_.seed == other.trajectory_.seed
    steps = zip(one.trajectory_.schedule, other.trajectory_.schedule, strict=True)
    for step, its_twin in steps:
        assert (step.indices == its_twin.indices).all()
        assert replace(step, indices=None) == replace(its_twin, indices=None)
    for state, its_twin in zip(one.trajectory_.states, other.trajectory_.states, strict=True):
        assert torch.equal(state.params, its_twin.params)
        for name, buffer in state.buffers.items():
            assert torch.equal(buffer, its_twin.buffers[name]), name
    assert "1.running_mean" in found[0]
    for name in ("uneven", "1.running_mean", "1.running_var", "1.num_batches_tracked"):
        np.testing.assert_array_equal(found[0][name], found[1][name])


class ByHand:
    """The steps of the uneven run in plain torch."""

    def __init__(self, net):
        self.module = two_processes.noisy().train()
        self.params = list(self.module.parameters())
        self.recorded = net.trajectory_
        self.rows, self.codes = torch.tensor(X), torch.tensor(y)
        self.weights = torch.tensor(WEIGHTS, dtype=torch.float32)

    def gradient(self, w, rows, seed):
        nn.utils.vector_to_parameters(w, self.params)
        torch.default_generator.manual_seed(seed)
        losses = cross_entropy(self.module(self.rows[rows]), self.codes[rows], reduction="none")
        loss = self.weights[rows] @ losses / self.weights[rows].sum()
        return nn.utils.parameters_to_vector(torch.autograd.grad(loss, self.params))

    def mean_gradient(self, w, number):
        """Mean over the processes of the gradients of their own rows."""
        step, seed = self.recorded.schedule[number], derived_seed(self.recorded.seed, number)
        shares = np.split(step.indices, np.cumsum(step.per_process)[:-1])
        return sum(self.gradient(w, rows, seed) for rows in shares) / len(shares)

    def climbed(self, number):
        w = self.recorded.states[number].params
        g = self.mean_gradient(w, number)
        return w + 0.2 * g / g.norm()


@pytest.mark.slow
def test_steps_are_those_of_plain_torch_with_the_rows_of_each_process(nets):
    """Batch norm and dropout over a process's own rows; 11 and 10 of them count alike."""
    net = nets[0][1]
    sizes = {step.per_process for step in net.trajectory_.schedule}
    assert (11, 10) in sizes
    hand, states = ByHand(net), net.trajectory_.states
    for number in range(net.trajectory_.n_steps):
        g = hand.mean_gradient(hand.climbed(number), number)
        after = states[number].params - 0.1 * g
        torch.testing.assert_close(after, states[number + 1].params, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::sam_attribution.exceptions.AttributionWarning")
def test_rows_are_read_where_all_processes_climbed_to(nets):
    net = nets[0][1]
    problem = problem_from_estimator(net, X[:41], y[:41], WEIGHTS)
    prepared = GIF().prepare(problem)  # does not warn that losses are others
    assert prepared.diagnostics["mode"].startswith("eps in training mode, row gradients in eval")
    assert "n_checkpoints=None" not in prepared.diagnostics["mode"]
    hand = ByHand(net)
    for number, point in enumerate(problem.path.checkpoints(4, plain_rates(problem.path))):
        found = point.row_params(problem, "w+eps")
        torch.testing.assert_close(found, hand.climbed(number), rtol=0, atol=1e-6)
        together = replace(point, shares=()).row_params(problem, "w+eps")
        assert (together - found).norm() > 1e-2  # a fault of 5 % of rho


@pytest.mark.slow
def test_the_main_process_keeps_the_run_in_a_folder(folder, nets):
    rows = (X[:41], y[:41], WEIGHTS)
    settings = {"module": two_processes.noisy, "callbacks__print_log__sink": print}
    accelerator = Accelerator(cpu=True)
    read = Net.resume(folder / "run", *rows, accelerator=accelerator, **settings)
    kept = nets[1][1].trajectory_
    for step, its_twin in zip(read.trajectory_.schedule, kept.schedule, strict=True):
        assert step.per_process == its_twin.per_process
    for state, its_twin in zip(read.trajectory_.states, kept.states, strict=True):
        assert torch.equal(state.params, its_twin.params)


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_processes_that_could_not_step_together_are_refused(process, folder):
    unwrapped, uneven = (folder / f"{process}.txt").read_text().splitlines()
    assert "unwrap_after_train=False" in unwrapped
    assert "the processes have 2 and 1 batches of an epoch" in uneven
    assert "a multiple of 2 batches" in uneven


@pytest.mark.slow
def test_the_pickled_net_goes_on_in_one_process(folder):
    Accelerator(cpu=True)
    net, _ = pickle.loads((folder / "0.pkl").read_bytes())
    assert len(net.predict(X)) == len(X)
    net.partial_fit(X, y)
    assert [step.per_process for step in net.trajectory_.schedule[3:5]] == [(16, 16), ()]
    assert net.trajectory_.n_processes == 2


def test_the_schedule_on_disk_knows_the_rows_of_each_process():
    schedule = SAMClassifier(**SETTINGS).fit(X, y).trajectory_.schedule
    several = [replace(step, per_process=(40, 24)) for step in schedule]
    for steps in (schedule, several):
        read = schedule_of(from_bytes(to_bytes(schedule_as_data(steps))))
        assert [step.per_process for step in read] == [step.per_process for step in steps]
    older = schedule_as_data(schedule)
    del older["per_process"]
    assert schedule_of(older)[0].per_process == ()


def test_synchronised_batch_norm_makes_one_share_of_a_batch():
    module = nn.Sequential(nn.Linear(5, 3), nn.SyncBatchNorm(3))
    for each, n_shares in ((module, 1), (module[0], 2)):
        net = SAMClassifier(each, max_epochs=1).fit(X, y)
        schedule = net.trajectory_.schedule
        schedule[:] = [replace(step, per_process=(20, 12)) for step in schedule]
        shares = problem_from_estimator(net, X, y).path.shares(0)
        assert len(shares) == n_shares
        assert (torch.cat(shares).numpy() == schedule[0].indices).all()


def in_two(**attributes):
    accelerator = SimpleNamespace(num_processes=2)
    return SimpleNamespace(accelerator=accelerator, **attributes)


def test_processes_that_would_not_train_together_are_refused():
    with pytest.raises(ValueError, match="2 processes, but module_ is not in Distributed"):
        check_processes(in_two(module_=nn.Linear(1, 1)))
    with pytest.raises(ValueError, match="2 processes, and resume reads a run in one"):
        check_alone(in_two())


def test_parts_that_climb_apart_are_refused(monkeypatch):
    monkeypatch.setattr("sam_attribution.training._processes._PARALLEL", nn.Linear)
    check_processes(in_two(module_=nn.Linear(1, 1)))
    with pytest.raises(ValueError, match="m_sharpness=4 is supported in one process only"):
        check_processes(in_two(module_=nn.Linear(1, 1), m_sharpness=4))


def test_an_epoch_that_ended_early_in_several_processes_is_not_used(monkeypatch):
    monkeypatch.setattr("sam_attribution.training._processes._gathered", lambda value: [value])
    trajectory = Trajectory(None, 0)

    def epoch():
        with shared_epoch(in_two(trajectory_=trajectory), [], "train"):
            trajectory.schedule.append("a step")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        epoch()
    assert "ended within an epoch" in trajectory.broken


def test_an_acceleratorof_one_process_is_a_copy():
    accelerator = Accelerator(cpu=True)
    accelerator.state.num_processes = 2
    assert of_one_process(accelerator).num_processes == 1
    assert accelerator.num_processes == 2


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("full disk")


def test_an_interrupted_run_through_accelerate_is_not_resumed(tmp_path):
    settings = {"module": nn.Linear(5, 3), "callbacks": [Stop]}
    settings |= {"accelerator": Accelerator(cpu=True), "callbacks__print_log__sink": print}
    with pytest.raises(RuntimeError, match="full disk"):
        Net(max_epochs=2, trajectory_dir=tmp_path, **settings).fit(X, y)
    with pytest.raises(ValueError, match="the state of accelerate's GradScaler"):
        Net.resume(tmp_path, X, y, **settings)
