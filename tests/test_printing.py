"""What a user can print at the console: within 80 columns, without an address."""

import inspect
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import scale
from torch import nn

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
    linalg,
    methods,
    plotting,
)
from sam_attribution.datasets import symmetric_noise
from sam_attribution.detection import label_issues
from sam_attribution.linalg import Direct, Inverse
from sam_attribution.linalg._operator import Damped, Dense
from sam_attribution.plotting._display import Display

X, y = load_iris(return_X_y=True)
X = X.astype("float32")
NAMES = np.array(["setosa", "versicolor", "virginica"])[y]
HELD_OUT = ValidationData(X[1::2], NAMES[1::2])
CLASSIFIER = SAMClassifier(max_epochs=2, random_state=0)


@pytest.fixture(scope="module")
def influence():
    return SAMInfluence(CLASSIFIER, validation=HELD_OUT, random_state=0).fit(X[::2], NAMES[::2])


def check(printed):
    assert " at 0x" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert len(printed.splitlines()) <= 40


def of_influence(influence):
    """Everything that a fitted SAMInfluence leads to."""
    found = influence.attributions_[0]
    net = influence.estimator_
    run = net.trajectory_
    yield from (influence, influence.diagnostics_, influence.diagnose(), found)
    yield from (found.problem, found.queries, found.prepared, next(iter(found.probes)))
    yield from (found.trained, found.trained.split, found.probes)
    yield from (found.problem.path, found.problem.layout)
    yield from (run, run.schedule[0], run.states[0], run.fingerprint)
    yield influence.explain_errors(X, NAMES)


@pytest.mark.slow
def test_everything_behind_a_score_prints(influence):
    for each in of_influence(influence):
        check(repr(each))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gif", "hif", "ekfac", "trak", "datainf", "grad-dot"])
def test_prepared_methods_and_their_figures_print(name):
    settings = {"method": name, "validation": 2, "random_state": 0}
    fitted = SAMInfluence(CLASSIFIER, **settings).fit(X, NAMES)
    check(repr(fitted.diagnostics_))
    assert "..." not in repr(fitted.diagnostics_)
    check(repr(fitted.attributions_[0].prepared))
    assert repr(fitted.attributions_[0].prepared).splitlines()[1].startswith("  scale")


def test_the_recorded_run_says_what_it_holds(influence):
    run = influence.estimator_.trajectory_
    assert repr(run).splitlines()[:3] == ["Trajectory", "  steps   6", "  states  7"]
    assert repr(run.schedule[0]) == "Step(25 rows, rate=0.1, rho=0.05)"
    assert repr(run.states[2]) == (
        "State(step=2, 259 parameters, 0 buffers, with the optimizer's memory)"
    )


def test_an_inverse_names_its_operator_and_its_solver():
    operator = Damped(Dense(torch.eye(4), symmetric=True), 0.1)
    solvers = [getattr(linalg, name)() for name in linalg.__all__ if hasattr(
        getattr(linalg, name), "prepare")]  # fmt: skip
    assert len(solvers) == 8
    for solver in solvers:
        inverse = solver.prepare(operator)
        assert isinstance(inverse, Inverse)
        check(repr(inverse))
        if not isinstance(solver, Direct):  # which forms the matrix
            assert repr(inverse) == f"Inverse(Damped(symmetric, size=4), solver={solver!r})"


def test_default_methods_print_as_their_name():
    names = set(methods.__all__) - {"Method", "Prepared", "PreparedScores"}
    assert {repr(getattr(methods, name)()) for name in names} == {f"{name}()" for name in names}


def test_a_held_out_set_says_what_it_holds():
    both = {"ids": X[:6], "mask": X[:6, :2]}
    assert repr(ValidationData(both, NAMES[:6])) == (
        "ValidationData(X of ids (6, 4), mask (6, 2), y of shape (6,))"
    )
    pairs = [(row, int(label)) for row, label in zip(torch.as_tensor(X), y, strict=True)]
    rows = torch.utils.data.Subset(pairs, range(9))
    assert repr(ValidationData(rows)) == "ValidationData(X Subset of 9 rows, y of shape (9,))"
    html = ValidationData(X, np.where(NAMES == "setosa", "<b>", NAMES))._repr_html_()
    assert "&lt;b&gt;: 50, versicolor: 50, virginica: 50" in html
    assert "label" not in ValidationData(X, X[:, 0])._repr_html_()
    many = ValidationData(X, np.arange(150))._repr_html_()
    assert "150 labels in all" in many
    assert "77: 1" not in many


@pytest.fixture(scope="module")
def detector():
    return MislabelDetector(CLASSIFIER, validation=3, random_state=0).fit(X, NAMES)


@pytest.mark.slow
def test_the_detector_prints_its_figures_and_its_table(detector):
    for table in (detector.diagnostics_, detector.issues_):
        check(repr(table))
    assert "wrong_by_class: " in repr(detector.diagnostics_)


@pytest.mark.slow
def test_no_label_is_certainly_wrong():
    given, _ = symmetric_noise(NAMES, 0.1, random_state=0)
    proba = cross_val_predict(LogisticRegression(), scale(X), given, method="predict_proba")
    found = label_issues(given, proba)
    check(repr(found))
    check(str(found))
    assert found.issues.probability_wrong.max() > 0.9995
    for shown in (str(found), found._repr_html_(), repr(found.issues), found.issues._repr_html_()):
        assert "1.000" not in shown
        assert "0.000" not in shown
    assert ">0.999" in str(found)
    assert "&gt;0.999" in found._repr_html_()
    assert "of 150 labels are suspicious" in found._repr_html_()


@pytest.mark.slow
def test_a_display_prints_its_settings_and_leaves_the_figure_to_matplotlib(detector):
    display = plotting.ScoreDistributionDisplay.from_estimator(detector)
    check(repr(display))
    assert "labels      shape (150,)" in repr(display)
    assert "threshold" not in repr(display)
    several = plotting.AgreementDisplay({"gif": X[:, 0], "hif": X[:, 1]}, X[:, 2])
    assert repr(several).splitlines()[1] == "  scores  gif, hif"


@pytest.mark.parametrize("name", plotting.__all__)
def test_a_notebook_shows_each_picture_once(name):
    """pyplot's figures appear at the end of a cell: a picture of the Display would be a second."""
    display = getattr(plotting, name)
    assert issubclass(display, Display)
    rich = [found for found, _ in inspect.getmembers(display) if re.match("_repr_.+_$", found)]
    assert rich == []


def test_an_adopted_net_prints_what_was_passed():
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    net = SAMClassifier.from_module(module, X, NAMES, weight_decay=0.01)
    assert str(net) == (
        "SAMClassifier(module=Sequential(43 parameters), optimizer__weight_decay=0.01,\n"
        "              rho=0.0)"
    )
    check(repr(net.trajectory_))


@pytest.mark.slow
def test_issues_with_more_columns_are_wrapped(detector):
    issues = detector.issues_
    more = issues.assign(**{f"column_{number}": 0.5 for number in range(8)})
    check(repr(more))
    assert "column_7" in repr(more)
