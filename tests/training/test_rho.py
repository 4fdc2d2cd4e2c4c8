"""A radius that changes in training, against plain torch and against retraining."""

from itertools import cycle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import GIF, HIF, Unrolled
from sam_attribution.probes import training_scores
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import RhoSchedule
from tests.methods.test_hif import queries_of
from tests.models import fitted, given_gradients, tabular
from tests.retrained import Run
from tests.training.test_resume import Death, assert_same_run, classifier, dies_at
from tests.training.test_resume import X as X_run
from tests.training.test_resume import y as y_run


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def test_the_radius_follows_a_line_or_half_a_cosine():
    line, wave = (
        RhoSchedule(0.1, end=0.3, n_epochs=4),
        RhoSchedule(0.3, end=0.1, n_epochs=4, shape="cosine"),
    )
    assert [line(e) for e in (0, 1, 4, 9)] == pytest.approx([0.1, 0.15, 0.3, 0.3])
    waves = [0.3, 0.2 + 0.1 * 0.5**0.5, 0.2, 0.1, 0.1]
    assert [wave(e) for e in (0, 1, 2, 4, 9)] == pytest.approx(waves)
    assert RhoSchedule(n_epochs=0)(0) == 0.05
    with pytest.raises(ValueError, match=r"shape must be one of \['cosine', 'linear'\]"):
        RhoSchedule(shape="square")(0)


def test_every_step_has_the_radius_of_its_epoch():
    net, X, y, _ = fitted("mlp", rho=RhoSchedule(end=0.2, n_epochs=2), max_epochs=3)  # of 5 steps
    found = [step.rho for step in net.trajectory_.schedule]
    assert found == pytest.approx([*(0.02 * t for t in range(10)), *[0.2] * 5])
    norms = [step.perturbation_norm for step in net.trajectory_.schedule]
    assert norms == pytest.approx(found)
    assert isinstance(clone(net).rho, RhoSchedule)  # training left it as it was
    net.partial_fit(X, y)  # epochs go on
    assert net.trajectory_.schedule[-1].rho == pytest.approx(0.2)
    by_function = fitted("mlp", rho=lambda epoch: min(0.1 * epoch, 0.2), max_epochs=3)[0]
    assert [step.rho for step in by_function.trajectory_.schedule] == pytest.approx(found)


@pytest.mark.slow
def test_training_and_unrolled_scores_equal_plain_torch():
    rho = RhoSchedule(0.4, end=0.0, n_epochs=3, shape="cosine")
    net, X, y, _ = fitted("mlp", module=network(), rho=rho, trajectory=2)
    radii = cycle([step.rho for step in net.trajectory_.schedule])

    def ascent(_, g):
        return next(radii) * g / g.norm()

    run = Run(network(), *map(torch.tensor, (X, y)), net.trajectory_, ascent, torch.optim.SGD, {})
    end = nn.utils.parameters_to_vector(run.trained(torch.ones(len(y))).parameters())
    problem = problem_from_estimator(net, X, y)
    torch.testing.assert_close(problem.params, end.detach(), rtol=0, atol=1e-12)
    *_, last = net.replay(X, y)
    assert torch.equal(last.params, problem.params)
    queries = queries_of(problem)
    probes = Unrolled(check=None).prepare(problem).probes(queries)
    scores = training_scores(problem, probes, given_only=True)[:, 0]
    for k in (3, 17):
        expected = -run.derivative(k, queries.X, queries.y)
        assert float(scores[k]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_gif_takes_each_states_own_radius_and_hif_the_last():
    net, X, y, _ = fitted(
        "mlp", module=network(), rho=RhoSchedule(end=0.4, n_epochs=3), trajectory="all"
    )
    problem = problem_from_estimator(net, X, y)
    queries, path = queries_of(problem), problem.path
    final = queries.directions(problem.params, problem.buffers)
    expected = torch.zeros(len(y), final.shape[1], dtype=torch.float64)
    for state, step in zip(path.recorded_states, path.schedule, strict=False):
        rows = torch.as_tensor(step.indices)
        g = given_gradients(problem, state.params, state.buffers)[rows].mean(0)
        point = state.params + step.rho * g / g.norm()
        at = given_gradients(problem, point, state.buffers)
        expected[rows] += step.rates[0] / len(rows) * (at[rows] @ final)
    probes = GIF(n_checkpoints=None).prepare(problem).probes(queries)
    found = training_scores(problem, probes, given_only=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert problem.rho == path.schedule[-1].rho == pytest.approx(0.4 * 14 / 15)
    point, _ = HIF(damping=0.5).prepare(problem).probes(queries)
    g = given_gradients(problem, problem.params, problem.buffers).mean(0)
    torch.testing.assert_close(point.point, problem.params + problem.rho * g / g.norm())


def test_the_table_of_diagnostics_says_which_radius():
    X, y, _ = tabular()
    net = SAMClassifier(rho=RhoSchedule(end=0.1, n_epochs=2), max_epochs=2, random_state=0)
    asked = ValidationData(-X[:10], y[:10])
    along = SAMInfluence(net, method="gif", validation=asked).fit(X, y)
    assert along.diagnostics_["rho"][0] == "0 to 0.075; each step has its own"
    method = HIF("fast", damping=0.5)
    final = SAMInfluence(net, method=method, validation=asked).fit(X, y)
    assert final.diagnostics_["rho"][0].endswith("that of the last step, 0.075")
    constant = SAMInfluence(clone(net).set_params(rho=0.1), validation=asked).fit(X, y)
    assert "rho" not in constant.diagnostics_


def test_a_killed_run_goes_on_with_the_radius_of_its_step(tmp_path, monkeypatch):
    rho = RhoSchedule(end=0.1, n_epochs=3)
    lived = classifier(tmp_path / "whole", rho=rho).fit(X_run, y_run)
    with monkeypatch.context() as patch:
        dies_at(12, patch)
        with pytest.raises(Death):
            classifier(tmp_path / "dead", rho=clone(rho)).fit(X_run, y_run)
    resumed = SAMClassifier.resume(tmp_path / "dead", X_run, y_run, rho=clone(rho))
    assert_same_run(resumed, lived)
    radii = [step.rho for step in resumed.trajectory_.schedule]
    assert radii == [step.rho for step in lived.trajectory_.schedule]
    assert len(set(radii)) == len(radii)
    with pytest.raises(ValueError, match="other settings: rho differ"):
        SAMClassifier.resume(tmp_path / "dead", X_run, y_run, rho=RhoSchedule(end=0.2, n_epochs=3))


def test_a_grid_search_sets_the_schedule():
    X, y, _ = tabular()
    net = SAMClassifier(rho=RhoSchedule(n_epochs=2), max_epochs=1, random_state=0)
    search = GridSearchCV(net, {"rho__n_epochs": [1, 3], "rho__end": [0.0, 0.3]}, cv=2).fit(X, y)
    assert isinstance(search.best_estimator_.rho, RhoSchedule)
    assert net.rho.n_epochs == 2
    assert repr(net) == "SAMClassifier(max_epochs=1, random_state=0, rho=RhoSchedule(n_epochs=2))"
    with pytest.raises(ValueError, match=r"rho=0.05 has no parameter to set. Pass an object"):
        SAMClassifier().set_params(rho__n_epochs=2)


@pytest.mark.parametrize("value", [-0.1, np.nan, "0.1", None])
def test_a_function_that_gives_no_radius_is_refused_before_the_first_step(value):
    X, y, _ = tabular()
    net = SAMClassifier(rho=lambda _: value, random_state=0)
    with pytest.raises(ValueError, match=r"rho=.* must give a number from 0 on .* for 0\."):
        net.fit(X, y)
    assert not net.trajectory_.schedule
