"""What cannot be computed again as in training is said, and only that."""

import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping
from skorch.dataset import ValidSplit
from torch import nn

from sam_attribution.exceptions import AttributionWarning
from sam_attribution.methods import GIF, TRAK, SelfInfluence, TracIn
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import SAMClassifier
from tests.models import tabular

X, y, weight = tabular(24)
_OWN = np.random.default_rng(0)
STREAMS = {
    "NumPy": lambda: np.random.normal(),
    "Python": lambda: random.gauss(0, 1),
    "own": _OWN.normal,
    "torch": lambda: torch.randn(()),
}
WITH_EPS = {
    "gif": GIF(),
    "every step": GIF(n_checkpoints=None),
    "tracin": TracIn(at="w+eps"),
    "self-influence": SelfInfluence(at="w+eps"),
    "trak": TRAK(n_checkpoints="recorded", at="w+eps", proj_dim=4),
}


class Augmenting(nn.Module):
    """Moves its rows by a random number in training."""

    def __init__(self, stream, size=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.stream = stream
        self.size = size

    def forward(self, X):
        return self.layer(X + self.size * STREAMS[self.stream]() if self.training else X)


def fitted(module, trajectory="all", sample_weight=None, **settings):
    defaults = {"max_epochs": 2, "batch_size": 8, "random_state": 0, "dtype": "float64"}
    defaults |= {"trajectory": trajectory, "rho": 0.1}
    net = SAMClassifier(module, **defaults | settings).fit(X, y, sample_weight=sample_weight)
    return net, problem_from_estimator(net, X, y, sample_weight)


@pytest.mark.slow
@pytest.mark.parametrize("method", WITH_EPS)
def test_the_step_its_losses_and_the_stream_are_named(method):
    net, problem = fitted(Augmenting("NumPy"))
    recorded = [batch["train_loss"] for epoch in net.history for batch in epoch["batches"]]
    with pytest.warns(AttributionWarning, match=r"draws from NumPy's .* stream in fo") as caught:
        WITH_EPS[method].prepare(problem)
    (message,) = [str(each.message) for each in caught]
    # the stream is seeded once, before the first step
    assert "step 1, computed again with the recorded batch and seed, is " in message
    assert f"instead of {recorded[1]:.4g}:" in message
    assert WITH_EPS[method].prepare(fitted(Augmenting("torch"))[1]) is not None


@pytest.mark.parametrize(
    ("stream", "cause"), [("Python", "draws from Python's"), ("own", "stream of the module's own")]
)
def test_other_streams_are_named_too(stream, cause):
    with pytest.warns(AttributionWarning, match=cause):
        GIF().prepare(fitted(Augmenting(stream))[1])


def test_row_gradients_in_evaluation_mode_need_no_draw():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TracIn().prepare(fitted(Augmenting("NumPy"))[1])


def test_no_stream_of_the_caller_moves():
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with pytest.warns(AttributionWarning):
        GIF().prepare(fitted(Augmenting("Python"))[1])
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_seed_fixes_what_is_drawn_from_pythons_stream():
    found = []
    for number in range(2):
        random.seed(number)
        found.append(fitted(Augmenting("Python"))[1].params)
    assert torch.equal(*found)


def network(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.Tanh(), nn.Linear(8, 3))


class Averse(nn.CrossEntropyLoss):
    """A criterion of the user's own class."""


ORDINARY = {
    "dropout": {"module": network(nn.Dropout(0.3))},
    "batch norm, momentum": {"module": network(nn.BatchNorm1d(8)), "optimizer__momentum": 0.9},
    "adam, both": {
        "module": network(nn.BatchNorm1d(8), nn.Dropout(0.3)),
        "optimizer": torch.optim.Adam,
    },
    "clipping": {"module": network(), "callbacks": [GradientNormClipping(0.1)]},
    "single precision": {"module": network(nn.Dropout(0.3)), "dtype": "float32", "lr": 0.5},
    "weights of rows": {"module": network(nn.Dropout(0.3)), "sample_weight": weight},
    "weights of classes and rows": {
        "module": network(),
        "criterion": nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), label_smoothing=0.1),
        "sample_weight": weight,
    },
    "own criterion": {"module": network(nn.BatchNorm1d(8)), "criterion": Averse},
    "held out": {"module": network(nn.Dropout(0.3)), "train_split": ValidSplit(3)},
    "drop last": {"module": network(), "batch_size": 7, "iterator_train__drop_last": True},
    "no perturbation": {"module": network(nn.Dropout(0.3)), "rho": 0.0},
    "adaptive": {"module": network(nn.Dropout(0.3)), "perturbation": "adaptive"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ORDINARY)
def test_an_ordinary_run_gives_no_alarm(case):
    _, problem = fitted(**{"trajectory": 2} | ORDINARY[case])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in (GIF(), GIF(n_checkpoints=4), GIF(n_checkpoints=None)):
            method.prepare(problem).removal_step([torch.arange(3)])


def visited(n_checkpoints, problem):
    """Visit the states of GIF."""
    return GIF(n_checkpoints=n_checkpoints).prepare(problem).removal_step([torch.arange(3)])


@pytest.mark.slow
@pytest.mark.parametrize("n_checkpoints", [3, 4, None])
def test_states_between_recorded_ones_are_tested_to_the_end(n_checkpoints):
    net, problem = fitted(network(), 1, lr=1e-3)  # a tenth of the way is little of the weights
    last = net.trajectory_.states[-1]
    visited(n_checkpoints, problem)

    def moved_by(size):
        step = size * (last.params - net.trajectory_.states[-2].params)
        return [*net.trajectory_.states[:-1], replace(last, params=last.params + step)]

    at_the_end = "Replay is .* away from the state recorded at step 6"
    for size, expected in (
        (1e-3, pytest.warns(AttributionWarning, match=f"{at_the_end}, where training had moved")),
        (0.1, pytest.raises(ValueError, match=f"{at_the_end}: training depended")),
    ):
        net.trajectory_.states = moved_by(size)
        nn.utils.vector_to_parameters(net.trajectory_.states[-1].params, net.module_.parameters())
        with expected:
            visited(n_checkpoints, problem_from_estimator(net, X, y))


def test_small_noise_between_recorded_states_is_said():
    _, problem = fitted(Augmenting("NumPy", 1e-4), 1)
    with pytest.warns(AttributionWarning, match="Replay is .* since the last one"):
        visited(None, problem)
