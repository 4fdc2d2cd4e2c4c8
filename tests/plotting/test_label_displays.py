"""Displays of what a detector learnt: scores by class, label confusion, what-if."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError

from sam_attribution.plotting import (
    LabelConfusionDisplay,
    ScoreDistributionDisplay,
    WhatIfDisplay,
)
from sam_attribution.plotting._axes import VERMILLION

rng = np.random.default_rng(0)
CLASSES = np.array(["ant", "bee", "cat"])
given = CLASSES[rng.integers(3, size=30)]
WHAT_IF = rng.normal(size=(30, 3))
suggested = CLASSES[WHAT_IF.argmax(1)]
SCORES = WHAT_IF[np.arange(30), np.searchsorted(CLASSES, given)] - WHAT_IF.max(1)
SCORES[4] = np.nan
SUSPICIOUS = np.nan_to_num(SCORES) < -1
DETECTOR = SimpleNamespace(
    scores_=SCORES,
    label_log_proba_=WHAT_IF,
    given_labels_=given,
    suggested_labels_=suggested,
    suspicious_=SUSPICIOUS,
    classes_=CLASSES,
)
EVERY = [ScoreDistributionDisplay, LabelConfusionDisplay, WhatIfDisplay]


@pytest.mark.parametrize("display", EVERY)
def test_what_is_not_fitted_is_refused(display):
    with pytest.raises(NotFittedError, match="got SimpleNamespace without given_labels_, "):
        display.from_estimator(SimpleNamespace(scores_=SCORES, label_log_proba_=WHAT_IF))


@pytest.mark.parametrize("display", [LabelConfusionDisplay, WhatIfDisplay])
def test_a_regression_has_no_classes_to_draw(display):
    kept = ("scores_", "given_labels_", "suggested_labels_", "suspicious_")
    fitted = SimpleNamespace(**{name: getattr(DETECTOR, name) for name in kept})
    with pytest.raises(ValueError, match=r"without .*classes_: a regression has no .* issues_"):
        display.from_estimator(fitted)


@pytest.mark.parametrize("display", EVERY)
def test_class_names_by_position_and_by_label(display):
    for names in (["A", "B", "C"], {"ant": "A", "bee": "B", "cat": "C"}):
        ax = display.from_estimator(DETECTOR, class_names=names).ax_
        axis = ax.xaxis if display is WhatIfDisplay else ax.yaxis
        assert [text.get_text() for text in axis.get_ticklabels()] == ["A", "B", "C"]
    with pytest.raises(ValueError, match="one name for each of the 3 classes, got 2"):
        display.from_estimator(DETECTOR, class_names=["A", "B"])


def test_scores_are_dots_in_the_line_of_their_class():
    display = ScoreDistributionDisplay.from_estimator(DETECTOR)
    drawn = zip(CLASSES, display.points_, display.suspicious_points_, strict=True)
    for height, (label, fine, suspicious) in enumerate(drawn):
        for points, mask in ((fine, ~SUSPICIOUS), (suspicious, SUSPICIOUS)):
            x, y = points.get_offsets().T
            rows = mask & (given == label) & ~np.isnan(SCORES)
            np.testing.assert_array_equal(x, SCORES[rows])
            assert (np.abs(y - height) < 0.5).all()
        counts = f"{len(suspicious.get_offsets())} of {np.sum(~np.isnan(SCORES[given == label]))}"
        assert counts in [text.get_text() for text in display.ax_.texts]
        assert to_rgba(VERMILLION) == tuple(suspicious.get_facecolor()[0])
    parted = (SCORES[SUSPICIOUS].max() + np.nanmin(SCORES[~SUSPICIOUS])) / 2
    np.testing.assert_allclose(display.threshold_line_.get_xdata(), parted)
    legend = display.ax_.get_legend()
    assert legend.get_title().get_text() == "every dot is a row (1 not judged)"
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["not suspicious", "suspicious", f"threshold {parted:.3g}"]


def test_a_threshold_makes_rows_suspicious():
    display = ScoreDistributionDisplay.from_predictions(SCORES, given, threshold=-1.0)
    expected = ScoreDistributionDisplay.from_estimator(DETECTOR)
    for mine, other in zip(display.suspicious_points_, expected.suspicious_points_, strict=True):
        np.testing.assert_array_equal(mine.get_offsets(), other.get_offsets())
    assert display.threshold_line_.get_xdata()[0] == -1


def test_no_line_where_no_number_parts_them():
    ranks = np.arange(30)
    mixed = ScoreDistributionDisplay.from_predictions(ranks, given, suspicious=ranks % 2 == 0)
    assert mixed.threshold_line_ is None
    neither = ScoreDistributionDisplay.from_predictions(ranks, given)
    assert neither.threshold_line_ is None
    assert not any(len(points.get_offsets()) for points in neither.suspicious_points_)


def test_dots_spread_where_scores_are_dense():
    display = ScoreDistributionDisplay.from_predictions(
        np.append(np.zeros(50), 1.0), np.full(51, "a")
    )
    x, y = display.points_[0].get_offsets().T
    assert np.ptp(y[x == 0]) > 0.7
    assert abs(y[x == 1][0]) < 0.05


def test_confusion_says_what_bold_means_where_there_is_bold():
    display = LabelConfusionDisplay.from_predictions(["a", "a", "b"], ["a", "b", "b"])
    bold = {text.get_position() for text in display.texts_ if text.get_fontweight() == "bold"}
    assert bold == {(1, 0)}
    assert "\nbold: another label is suggested" in display.ax_.get_title()
    assert "\ndiagonal: the given label stays, 2 rows" in display.ax_.get_title()
    for labels in (["a", "b"], np.arange(31)):
        plain = LabelConfusionDisplay.from_predictions(labels, labels)
        assert "bold" not in plain.ax_.get_title()


@pytest.mark.parametrize("rows", ["suspicious", "all"])
def test_confusion_counts_pairs_of_labels(rows):
    display = LabelConfusionDisplay.from_estimator(DETECTOR, rows=rows)
    counted = SUSPICIOUS if rows == "suspicious" else np.ones(30, bool)
    expected = [
        [np.sum(counted & (given == g) & (suggested == s)) for s in CLASSES] for g in CLASSES
    ]
    np.testing.assert_array_equal(display.counts_, expected)
    np.testing.assert_array_equal(display.image_.get_array(), expected)
    written = {text.get_position(): int(text.get_text()) for text in display.texts_}
    assert written == {(c, r): expected[r][c] for r, c in np.argwhere(expected)}
    assert display.ax_.get_title().startswith(f"{counted.sum()} {'suspicious ' * (rows != 'all')}")
    assert display.counts_.index.tolist() == display.counts_.columns.tolist() == CLASSES.tolist()


def test_confusion_of_many_classes_and_of_no_row():
    labels = np.arange(31)
    display = LabelConfusionDisplay.from_predictions(labels, labels[::-1])
    assert display.texts_ == []
    assert len(display.figure_.axes) == 2  # with a colour bar
    nothing = LabelConfusionDisplay.from_predictions([0, 1], [1, 0], suspicious=[False, False])
    np.testing.assert_array_equal(nothing.counts_, np.zeros((2, 2)))


def test_what_if_shows_probabilities_of_the_lowest_scores():
    display = WhatIfDisplay.from_estimator(DETECTOR, k=6)
    rows = [row for row in np.argsort(SCORES) if not np.isnan(SCORES[row])][:6]
    np.testing.assert_array_equal(display.rows_, rows)
    for drawn, row in zip(display.image_.get_array(), rows, strict=True):
        np.testing.assert_allclose(drawn, np.exp(WHAT_IF[row]) / np.exp(WHAT_IF[row]).sum())
        assert CLASSES[drawn.argmax()] == suggested[row]
    assert display.image_.get_clim() == (0, 1)
    bar = display.image_.colorbar.ax
    assert bar.get_ylabel() == "probability of the label"
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == list(map(str, rows))


def test_what_if_marks_the_given_labels_alone():
    display = WhatIfDisplay.from_estimator(DETECTOR, k=6)
    assert list(display.ax_.collections) == [display.given_marks_]
    column, line = display.given_marks_.get_offsets().T
    np.testing.assert_array_equal(CLASSES[column.astype(int)], given[display.rows_])
    np.testing.assert_array_equal(line, np.arange(6))
    shown = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert shown == ["given label"]


def test_what_if_with_columns_in_another_order():
    order = [2, 0, 1]
    display = WhatIfDisplay.from_predictions(WHAT_IF[:, order], given, classes=CLASSES[order], k=30)
    np.testing.assert_array_equal(display.rows_, np.arange(30))
    column = display.given_marks_.get_offsets()[:, 0].astype(int)
    np.testing.assert_array_equal(CLASSES[order][column], given)
    names = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert names == CLASSES[order].tolist()


def test_what_if_leaves_out_rows_without_numbers():
    table = WHAT_IF.copy()
    table[[0, 2]] = np.nan
    display = WhatIfDisplay.from_predictions(table, given, k=2)
    assert display.rows_.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ScoreDistributionDisplay.from_predictions(SCORES, given[1:]),
            "labels must hold one value for each of the 30 rows, got 29",
        ),
        (
            lambda: ScoreDistributionDisplay.from_predictions([np.nan], ["a"]),
            "scores must hold a number, got NaN for every row",
        ),
        (
            lambda: ScoreDistributionDisplay.from_predictions([1.0, 2], [0, 1], suspicious=[5, 7]),
            "suspicious must hold True and False only",
        ),
        (
            lambda: LabelConfusionDisplay.from_predictions(given, suggested[1:]),
            "suggested must hold one value for each of the 30 rows, got 29",
        ),
        (
            lambda: LabelConfusionDisplay.from_estimator(DETECTOR, rows="some"),
            'rows must be "suspicious" or "all", got \'some\'',
        ),
        (
            lambda: WhatIfDisplay.from_predictions(SCORES, given),
            "label_log_proba should be a 2d array",
        ),
        (
            lambda: WhatIfDisplay.from_predictions(WHAT_IF[:, :2], given),
            "a column for each of 3 classes, got 2. Name them all: classes=",
        ),
        (
            lambda: WhatIfDisplay.from_predictions(WHAT_IF, given, scores=SCORES[1:]),
            "scores must hold one value for each of the 30 rows, got 29",
        ),
        (
            lambda: WhatIfDisplay.from_predictions(WHAT_IF, ["dog"] * 30, classes=CLASSES),
            "given holds labels that were not in fit: ['dog']".replace("[", r"\["),
        ),
        (lambda: WhatIfDisplay.from_predictions(WHAT_IF, given, k=0), "k == 0, must be >= 1"),
        (
            lambda: WhatIfDisplay.from_predictions(WHAT_IF * np.nan, given),
            "label_log_proba and scores must hold numbers, got NaN in every row",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_labels_are_never_read_as_formulas():
    labels, scores = np.array(["$^$", "$a_$"]), np.array([0.0, 1.0])
    displays = [
        ScoreDistributionDisplay.from_predictions(scores, labels, threshold=0.5),
        LabelConfusionDisplay.from_predictions(labels, labels[::-1]),
        WhatIfDisplay.from_predictions(np.eye(2), labels, scores=scores),
    ]
    for display in displays:
        display.figure_.canvas.draw()  # matplotlib reads formulas here
