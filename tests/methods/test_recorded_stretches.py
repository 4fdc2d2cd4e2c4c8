"""By default the methods along a training visit what was recorded, and repeat no step."""

import pytest
import torch

from sam_attribution import SAMClassifier, SAMInfluence
from sam_attribution.methods import GIF, TRAK, SelfInfluence, TracIn
from sam_attribution.probes import training_scores
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training._sam_step import SAMMixin
from tests.methods.test_gif import mean_query
from tests.models import fitted, tabular

X, y, _ = tabular(30)


@pytest.fixture
def steps(monkeypatch):
    """Number of training steps taken, recorded or repeated."""
    taken, step = [], SAMMixin.train_step_single

    def counted(net, batch, **kwargs):
        taken.append(net.trajectory_.n_steps)
        return step(net, batch, **kwargs)

    monkeypatch.setattr(SAMMixin, "train_step_single", counted)
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "trajectory"),
    [("gif", 1), ("gif", 12), ("gif", "all"), ("tracin", 5), ("self-influence", 5)],
)
def test_no_step_is_repeated(steps, trajectory, method):
    net = SAMClassifier(trajectory=trajectory, max_epochs=5, batch_size=8, random_state=0)
    found = SAMInfluence(net, method=method, random_state=0).fit(X, y)
    assert len(steps) == found.estimator_.trajectory_.n_steps == 15
    assert found.diagnostics_["steps_repeated"].tolist() == [0]
    probes = found.attributions_[0].prepared.probes(found.attributions_[0].queries)
    assert len(list(probes)) == {"all": 10}.get(trajectory, trajectory)


def test_another_number_says_how_many_steps_it_repeats(steps):
    net = SAMClassifier(trajectory=5, max_epochs=5, batch_size=8, random_state=0)
    found = SAMInfluence(net, method=GIF(n_checkpoints=10), random_state=0).fit(X, y)
    repeated = len(steps) - found.estimator_.trajectory_.n_steps
    assert found.diagnostics_["steps_repeated"].tolist() == [repeated]
    assert repeated > 0


def test_recorded_stretches_are_those_of_their_number():
    classifier, *data = fitted("mlp", trajectory=4)
    problem = problem_from_estimator(classifier, *data)
    queries = mean_query(problem)
    for kind in (GIF, TracIn, SelfInfluence):
        recorded, four = (
            training_scores(problem, method.prepare(problem).probes(queries), given_only=True)
            for method in (kind(), kind(n_checkpoints=4))
        )
        assert torch.equal(recorded, four)
    assert len(TRAK(n_checkpoints="recorded").prepare(problem).probes(queries)) == 4


def test_nothing_recorded_is_refused():
    classifier, *data = fitted("mlp", trajectory=None)
    problem = problem_from_estimator(classifier, *data)
    for method in (GIF(), TracIn(), SelfInfluence(), TRAK(n_checkpoints="recorded")):
        with pytest.raises(ValueError, match="fitted with trajectory=None"):
            method.prepare(problem).probes(mean_query(problem))
