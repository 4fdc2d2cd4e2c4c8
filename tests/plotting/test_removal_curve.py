"""Removal curves from an estimator, and from numbers, against training by hand."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from sam_attribution import SAMClassifier
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.metrics import removal_curve
from sam_attribution.plotting import RemovalCurveDisplay
from sam_attribution.plotting._removal_curve_data import ScoreAfterRemoval

X, y = load_iris(return_X_y=True)
X, y, X_TEST, y_TEST = X[::2, :2], y[::2], X[1::2, :2], y[1::2]
SCORES = np.random.default_rng(0).normal(size=75)
FRACTIONS = [0, 0.2, 0.4]
ROWS = {"X_test": X_TEST, "y_test": y_TEST, "fractions": FRACTIONS}


class Scorer(BaseEstimator):
    """Scores that know the first feature and the seed."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y):
        self.scores_ = X[:, 0] + np.random.default_rng(self.random_state).normal(size=len(y))
        return self


def by_hand(kept):
    return GaussianNB().fit(X[kept], y[kept]).score(X_TEST, y_TEST)


def test_estimator_is_trained_without_the_lowest_scores():
    display = RemovalCurveDisplay.from_estimator(
        GaussianNB(), X, y, scores=SCORES, n_random=2, random_state=0, **ROWS
    )
    expected = [by_hand(np.argsort(SCORES)[round(f * 75) :]) for f in FRACTIONS]
    np.testing.assert_allclose(display.lines_[0].get_data(), [100 * np.array(FRACTIONS), expected])
    table = removal_curve(SCORES, by_hand, fractions=FRACTIONS, n_random=2, random_state=0)
    random = table[table["kind"] == "random"].groupby("fraction")["value"].mean()
    np.testing.assert_allclose(display.random_line_.get_ydata(), random)
    assert display.ax_.get_xlabel() == "training rows removed (%), lowest scores first"
    assert display.ax_.get_ylabel().startswith("accuracy after training without them")


@pytest.mark.parametrize("refit", ["retrain", "replay"])
def test_there_is_no_value_where_a_class_loses_every_row(refit):
    net = SAMClassifier(max_epochs=1, random_state=0)
    last = np.where(y == 2, -1.0, 1.0)  # the lowest third is class 2
    fractions = [0, 0.2, np.mean(y == 2), 0.5]
    with pytest.warns(AttributionWarning, match=r"fractions=0\.33\d*, 0\.5 takes every row of a c"):
        display = RemovalCurveDisplay.from_estimator(
            net, X, y, X_test=X_TEST, y_test=y_TEST, scores=last, refit=refit, fractions=fractions,
            n_random=1, random_state=0,
        )  # fmt: skip
    assert np.isnan(display.lines_[0].get_ydata()).tolist() == [False, False, True, True]
    assert len(display.random_line_.get_xdata()) == 4


def test_the_mean_of_random_removals_is_one_of_all_draws():
    draws = [[0.9, 0.8, 0.7], [0.9, np.nan, 0.5]]
    display = RemovalCurveDisplay.from_predictions(
        FRACTIONS, [0.9, 0.8, 0.7], random_accuracy=draws
    )
    np.testing.assert_allclose(display.random_line_.get_data(), [[0, 40], [0.9, 0.6]])


def test_several_methods_a_regressor_and_a_name_of_the_value():
    display = RemovalCurveDisplay.from_estimator(
        LinearRegression(), X, y, scores={"a": SCORES, "b": -SCORES}, n_random=0, **ROWS
    )
    assert [line.get_label() for line in display.lines_] == ["a", "b"]
    assert display.ax_.get_ylabel().startswith("R² after training without them")
    display = RemovalCurveDisplay.from_estimator(
        LinearRegression(), X, y, scores=SCORES, n_random=0, value_name="fit", **ROWS
    )
    assert display.ax_.get_ylabel().startswith("fit after training without them")


def test_a_scorer_is_read_if_fitted_and_fitted_if_not():
    unfitted = Scorer()
    drawn = [
        RemovalCurveDisplay.from_estimator(
            GaussianNB(), X, y, scorer=scorer, n_random=0, random_state=3, **ROWS
        )
        for scorer in (
            unfitted,
            Scorer(3).fit(X, y),
            SimpleNamespace(scores_=Scorer(3).fit(X, y).scores_),
        )
    ]
    assert not hasattr(unfitted, "scores_")
    for display, name in zip(drawn, ["Scorer", "Scorer", "SimpleNamespace"], strict=True):
        assert display.lines_[0].get_label() == name
        np.testing.assert_array_equal(display.lines_[0].get_ydata(), drawn[0].lines_[0].get_ydata())


def test_trainings_differ_by_their_rows_alone():
    tree = DecisionTreeClassifier(max_features=1)
    first, again = (
        RemovalCurveDisplay.from_estimator(
            tree, X, y, scores=SCORES, n_random=2, random_state=0, **ROWS
        ).curves["lowest scores"]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first["value"], again["value"])
    seeded = DecisionTreeClassifier(max_features=1, random_state=0).fit(X, y)
    assert first["value"][0] == seeded.score(X_TEST, y_TEST)
    assert tree.random_state is None


def test_what_is_sent_to_other_processes_gives_the_same_there():
    """Without starting any: that takes seconds."""
    score = ScoreAfterRemoval(DecisionTreeClassifier(max_features=1), X, y, X_TEST, y_TEST, 0)
    kept = SCORES > -1
    assert pickle.loads(pickle.dumps(score))(kept) == score(kept)


def test_progress_is_shown_on_demand(capsys):
    RemovalCurveDisplay.from_estimator(
        GaussianNB(), X, y, scores=SCORES, n_random=1, verbose=1, **ROWS
    )
    assert "removal curve: 100%" in capsys.readouterr().err


def test_numbers_that_are_known_already():
    random = np.array([[0.9, 0.8, 0.7], [0.9, 0.9, 0.6]])
    display = RemovalCurveDisplay.from_predictions(
        FRACTIONS, {"gif": [0.9, 0.95, 0.9], "hif": [0.9, 0.92, 0.91]}, random_accuracy=random
    )
    np.testing.assert_array_equal(display.lines_[0].get_data(), [[0, 20, 40], [0.9, 0.95, 0.9]])
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), [0.9, 0.92, 0.91])
    np.testing.assert_allclose(display.random_line_.get_ydata(), [0.9, 0.85, 0.65])
    corners = display.random_band_.get_paths()[0].vertices
    for edge in (random.min(0), random.max(0)):
        assert np.isclose(np.c_[[0, 20, 40], edge][:, None], corners).all(-1).any(1).all()
    assert "2 draws" in display.random_band_.get_label()
    alone = RemovalCurveDisplay.from_predictions(FRACTIONS, [1, 2, 3], name="gif")
    assert alone.random_line_ is None
    assert alone.lines_[0].get_label() == "gif"


def test_several_runs_are_a_mean_with_bars_over_their_range():
    runs = np.array([[0.9, 0.8, 0.7], [0.8, 0.6, 0.6], [0.7, 0.7, 0.2]])
    display = RemovalCurveDisplay.from_predictions(
        FRACTIONS, {"gif": runs, "one run": [0.5, 0.5, 0.5], "hif": runs[:2]}
    )
    np.testing.assert_allclose(display.lines_[0].get_data(), [[0, 20, 40], runs.mean(0)])
    assert len(display.bars_) == 2
    for bars, of_method in zip(display.bars_, (runs, runs[:2]), strict=True):
        for (bottom, top), at, values in zip(
            bars[2][0].get_segments(), [0, 20, 40], of_method.T, strict=True
        ):
            np.testing.assert_allclose([bottom, top], [[at, values.min()], [at, values.max()]])
    shown = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert shown == ["gif", "one run", "hif", "range of 3 runs"]


def test_tables_below_each_other_are_runs():
    tables = [removal_curve(SCORES, by_hand, fractions=FRACTIONS, n_random=0) for _ in range(2)]
    tables[1]["value"] -= 0.2
    display = RemovalCurveDisplay(pd.concat(tables)).plot()
    expected = tables[0]["value"] - 0.1
    np.testing.assert_allclose(display.lines_[0].get_ydata(), expected)
    bottoms = [segment[0, 1] for segment in display.bars_[0][2][0].get_segments()]
    np.testing.assert_allclose(bottoms, expected - 0.1)


def test_an_axis_that_is_cut_says_so():
    cut = RemovalCurveDisplay.from_predictions(FRACTIONS, [0.9, 0.95, 0.92])
    assert cut.ax_.get_ylabel().endswith("\n(the axis does not start at 0)")
    whole = RemovalCurveDisplay.from_predictions(FRACTIONS, [0.9, 0.5, 0.0])
    assert whole.ax_.get_ylabel() == "accuracy after training without them"


def drawn(**settings):
    return RemovalCurveDisplay.from_estimator(GaussianNB(), X, y, **ROWS | settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (drawn, TypeError, "Either scores or scorer must be given, got neither"),
        (
            lambda: drawn(scores=SCORES, scorer=Scorer()),
            TypeError,
            "Either scores or scorer must be given, got both",
        ),
        (
            lambda: drawn(scores=SCORES[1:]),
            ValueError,
            "scores must hold one value for each of the 75 rows, got 74",
        ),
        (
            lambda: RemovalCurveDisplay.from_estimator(
                GaussianNB(), X, y[1:], scores=SCORES, **ROWS
            ),
            ValueError,
            "y must hold one value for each of the 75 rows, got 74",
        ),
        (
            lambda: RemovalCurveDisplay.from_predictions(FRACTIONS, [1, 2]),
            ValueError,
            r"accuracy must hold a number for each of 3 fractions, got shape \(2,\)",
        ),
        (
            lambda: RemovalCurveDisplay.from_predictions(
                FRACTIONS, [1, 2, 3], random_accuracy=[[1, 2]]
            ),
            ValueError,
            "random_accuracy must hold a number for each of 3 fractions",
        ),
        (
            lambda: RemovalCurveDisplay.from_predictions([0, 10], [1, 2]),
            ValueError,
            r"fractions must be numbers in \[0, 1\), got \[0.0, 10.0\]",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
