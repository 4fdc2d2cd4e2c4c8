"""What displays draw is what they were given, on the Axes they were given."""

import builtins

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sam_attribution.metrics import agreement, removal_curve, similarity_curve
from sam_attribution.plotting import (
    AgreementDisplay,
    DetectionCurveDisplay,
    FurtherTrainingDisplay,
    LabelConfusionDisplay,
    RemovalCurveDisplay,
    ScoreDistributionDisplay,
    TraceDisplay,
    WhatIfDisplay,
)

rng = np.random.default_rng(0)
TRUTH = rng.normal(size=20)
SCORES = 0.5 * TRUTH + 0.1 * rng.normal(size=20)
AMOUNTS = np.array([1.0, 5.0, 20.0])
FURTHER = rng.normal(size=(3, 4, 20))
FRACTIONS = [0, 0.1, 0.25]
WORTH = rng.random(20)
WRONG = np.argsort(np.argsort(SCORES)) < 5
LABELS = np.arange(20) % 3
IMAGES = rng.random((20, 3, 4))
EXPLANATION = pd.DataFrame(
    {
        "query": [0, 0, 0, 7, 7],
        "true_label": 2,
        "predicted_label": 1,
        "rank": [1, 2, -1, 1, -1],
        "train_row": [3, 5, 2, 4, 9],
        "label": [1, 1, 2, 0, 2],
        "most_helpful_label": [2, 1, 2, 0, 2],
        "score": [-0.5, -0.25, 0.125, -2.0, 3.0],
        "epochs": ["1-2", "3", "1, 3-4, 6-7, 9-10", "", "2"],
    }
)


def worth(kept):
    return WORTH[kept].sum()


DRAW = {
    "agreement": lambda **settings: AgreementDisplay.from_predictions(SCORES, TRUTH, **settings),
    "further training": lambda **settings: FurtherTrainingDisplay.from_predictions(
        FURTHER[2], FURTHER, AMOUNTS, **settings
    ),
    "removal": lambda **settings: RemovalCurveDisplay.from_scores(
        SCORES, worth, fractions=FRACTIONS, random_state=0, **settings
    ),
    "detection": lambda **settings: DetectionCurveDisplay.from_predictions(
        WRONG, SCORES, **settings
    ),
}
MAPS = {
    "scores": lambda **settings: ScoreDistributionDisplay.from_predictions(
        SCORES, LABELS, suspicious=WRONG, **settings
    ),
    "confusion": lambda **settings: LabelConfusionDisplay.from_predictions(
        LABELS, LABELS[::-1], class_names=["a long name", "b", "c"], **settings
    ),
    "what if": lambda **settings: WhatIfDisplay.from_predictions(
        rng.normal(size=(20, 3)), LABELS, scores=SCORES, **settings
    ),
    "trace of images": lambda **settings: TraceDisplay.from_predictions(
        EXPLANATION, IMAGES, IMAGES, **settings
    ),
    "trace of features": lambda **settings: TraceDisplay.from_predictions(
        EXPLANATION, IMAGES[:, 0], IMAGES[:, 0], **settings
    ),
}
curve_display = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
every_display = pytest.mark.parametrize("draw", (DRAW | MAPS).values(), ids=DRAW | MAPS)


@pytest.mark.slow
@every_display
def test_given_axes_are_drawn_on_and_pyplot_is_left_alone(draw):
    figure, (other, ax) = plt.subplots(1, 2)
    plt.sca(other)
    before = dict(mpl.rcParams)
    display = draw(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert plt.gca() is other
    assert plt.get_fignums() == [figure.number]
    assert not other.has_data()
    assert dict(mpl.rcParams) == before


@pytest.mark.slow
@every_display
def test_without_axes_there_is_one_new_figure(draw):
    display = draw()
    assert plt.get_fignums() == [display.figure_.number]
    again = display.plot()
    assert again is display
    assert len(plt.get_fignums()) == 2


@pytest.mark.slow
@curve_display
def test_axes_and_curves_are_labelled_inside_the_figure(draw):
    display = draw(name="gif")
    ax = display.ax_
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(label.startswith("gif") for label in labels) or "gif" in ax.get_title()
    display.figure_.canvas.draw()
    edge = display.figure_.bbox
    titles = [ax.title] if ax.get_title() else []
    for part in (ax.xaxis.label, ax.yaxis.label, ax.get_legend(), *titles):
        box = part.get_window_extent()
        assert (edge.min <= box.min).all()
        assert (box.max <= edge.max).all()


@pytest.mark.slow
@pytest.mark.parametrize("draw", MAPS.values(), ids=MAPS)
def test_all_that_is_written_lies_inside_the_figure(draw):
    display = draw()
    display.figure_.canvas.draw()
    edge = display.figure_.bbox
    for ax in display.figure_.axes:
        box = ax.get_tightbbox()
        assert (edge.min <= box.min + 1).all()
        assert (box.max <= edge.max + 1).all()


@every_display
def test_wrong_axes_are_named(draw):
    for ax in ("here", plt.subplots(1, 2)[1]):
        with pytest.raises(ValueError, match="ax must be 1 matplotlib Axes"):
            draw(ax=ax)


@every_display
@pytest.mark.parametrize("projection", ["3d", "polar"])
def test_axes_of_another_projection_are_named(draw, projection):
    ax = plt.figure().add_subplot(projection=projection)
    with pytest.raises(ValueError, match=f"ax must be Axes with .* got projection='{projection}'"):
        draw(ax=ax)


@every_display
def test_without_matplotlib_the_error_says_what_to_install(draw, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"Install it, or sam-attribution\[plot\]"):
        draw()


def test_agreement_shows_points_line_and_figures():
    scores = np.append(SCORES, np.nan)
    display = AgreementDisplay.from_predictions(scores, [*TRUTH, 1.0], name="hif")
    np.testing.assert_array_equal(display.points_[0].get_offsets(), np.c_[SCORES, TRUTH])
    slope, intercept = np.polyfit(SCORES, TRUTH, 1)
    x, y = display.lines_[0].get_data()
    assert x.tolist() == [SCORES.min(), SCORES.max()]
    np.testing.assert_allclose(y, intercept + slope * x)
    assert display.identity_[0].get_slope() == 1
    pearson = np.corrcoef(SCORES, TRUTH)[0, 1]
    assert display.ax_.get_title() == f"hif\nPearson {pearson:.2f}, slope {slope:.2g}"
    assert display.figures_["hif"].loc["slope", "mean"] == pytest.approx(slope)


def test_agreement_has_a_panel_for_each_method_in_one_row_on_the_same_axes():
    methods = {name: TRUTH * factor for name, factor in zip("abcd", (1, 2, 0.5, -1), strict=True)}
    display = AgreementDisplay.from_predictions(methods, TRUTH)
    assert [ax.get_title()[0] for ax in display.axes_] == list("abcd")
    slopes = [ax.get_title().split()[-1] for ax in display.axes_]
    assert slopes == ["1", "0.5", "2", "-1"]
    assert display.figure_.axes == list(display.axes_)
    assert [bool(ax.get_ylabel()) for ax in display.axes_] == [True, False, False, False]
    assert len({ax.get_position().y0 for ax in display.axes_}) == 1
    for ax in display.axes_:
        assert ax.get_xlim() == display.ax_.get_xlim()
        assert ax.get_ylim() == display.ax_.get_ylim()
    assert display.ax_.get_xlim()[1] > 2 * TRUTH.max()
    assert [ax.get_legend() is not None for ax in display.axes_] == [True, False, False, False]
    shown = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert shown == ["fitted line", "right size: slope 1"]
    _, axes = plt.subplots(2, 2)
    assert display.plot(ax=axes).axes_.tolist() == axes.ravel().tolist()
    with pytest.raises(ValueError, match="ax must be 4 matplotlib Axes, one for each panel"):
        display.plot(ax=axes[0])


def test_agreement_of_scores_without_a_unit_has_an_axis_for_each():
    display = AgreementDisplay.from_predictions({"a": TRUTH, "b": 9 * TRUTH}, TRUTH, unit=None)
    first, second = display.axes_
    assert second.get_xlim()[1] == pytest.approx(9 * first.get_xlim()[1])
    assert second.get_ylim() == first.get_ylim()


def test_panels_below_each_other_all_have_numbers_under_the_lowest():
    methods = dict.fromkeys("abcdef", TRUTH)
    axes = AgreementDisplay.from_predictions(methods, TRUTH).axes_
    numbers = [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes]
    assert numbers == [False, False, True, True, True, True]
    assert [bool(ax.get_ylabel()) for ax in axes] == [True, False, False, False, True, False]


def test_the_truth_of_a_table_of_scores_is_no_method():
    table = pd.DataFrame({"gif": SCORES, "truth": [*TRUTH[1:], np.nan]})
    assert [*AgreementDisplay(table, table["truth"]).scores] == ["gif"]
    assert [*AgreementDisplay(table, TRUTH).scores] == ["gif", "truth"]


def test_agreement_over_several_queries():
    truth = rng.normal(size=(5, 20))
    scores = truth + rng.normal(size=(5, 20))
    display = AgreementDisplay.from_predictions(scores, truth)
    table = agreement(scores, truth)
    mean, error = table["pearson"].mean(), table["pearson"].sem()
    assert display.ax_.get_title() == (
        f"Pearson {mean:.2f} ± {error:.2f}, slope {table['slope'].mean():.2g}\nmeans over 5 queries"
    )
    assert len(display.points_[0].get_offsets()) == 100
    slope, intercept = np.polyfit(scores.ravel(), truth.ravel(), 1)
    x, y = display.lines_[0].get_data()
    np.testing.assert_allclose(y, intercept + slope * x)


def test_agreement_without_a_unit_and_without_a_line():
    display = AgreementDisplay.from_predictions(np.ones(20), TRUTH, unit=None)
    assert "(" not in display.ax_.get_xlabel() + display.ax_.get_ylabel()
    assert np.isnan(display.lines_[0].get_ydata()).all()
    assert "(logits)" in AgreementDisplay(SCORES, TRUTH, unit="logits").plot().ax_.get_xlabel()


@pytest.mark.slow
def test_further_training_shows_mean_and_error_of_every_method():
    methods = {f"method {k}": rng.normal(size=(4, 20)) for k in range(9)}
    display = FurtherTrainingDisplay.from_predictions(
        methods, FURTHER, AMOUNTS, amount_name="steps"
    )
    assert [line.get_label() for line in display.lines_] == list(methods)
    for scores, line, band in zip(methods.values(), display.lines_, display.bands_, strict=True):
        curve = similarity_curve(scores, FURTHER, AMOUNTS)
        np.testing.assert_array_equal(line.get_data(), [AMOUNTS, curve["mean"]])
        corners = band.get_paths()[0].vertices
        for side in (-1, 1):
            edge = np.c_[AMOUNTS, curve["mean"] + side * curve["standard_error"]]
            assert np.isclose(edge[:, None], corners).all(-1).any(1).all()
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in display.lines_}
    assert len(looks) == 9
    assert "(steps)" in display.ax_.get_xlabel()
    assert "How well scores predict further training" in display.ax_.get_title()
    assert "1 = perfect, 0 = no relation" in display.ax_.get_ylabel()


def test_removal_shows_curves_and_the_range_of_random_rows():
    methods = {"gif": SCORES, "hif": -SCORES}
    display = RemovalCurveDisplay.from_scores(
        methods, worth, fractions=FRACTIONS, n_random=3, random_state=0, value_name="worth"
    )
    percent = 100 * np.array(FRACTIONS)
    for line, (name, scores) in zip(display.lines_, methods.items(), strict=True):
        expected = removal_curve(scores, worth, fractions=FRACTIONS, n_random=0)["value"]
        np.testing.assert_array_equal(line.get_data(), [percent, expected])
        assert line.get_label() == name
    table = removal_curve(SCORES, worth, fractions=FRACTIONS, n_random=3, random_state=0)
    random = table[table["kind"] == "random"]["value"].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(display.random_line_.get_data(), [percent, random.mean(0)])
    corners = display.random_band_.get_paths()[0].vertices
    for edge in (random.min(0), random.max(0)):
        assert np.isclose(np.c_[percent, edge][:, None], corners).all(-1).any(1).all()
    assert "3 draws" in display.random_band_.get_label()
    assert display.bars_ == []


def test_removal_without_random_rows():
    table = removal_curve(SCORES, worth, fractions=FRACTIONS, n_random=0)
    display = RemovalCurveDisplay(table, name="gif").plot()
    assert display.random_line_ is None
    assert display.random_band_ is None
    assert [line.get_label() for line in display.ax_.lines] == ["gif"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AgreementDisplay({}, TRUTH), "scores must hold one method or more"),
        (lambda: RemovalCurveDisplay({}), "curves must hold one method or more"),
        (
            lambda: FurtherTrainingDisplay.from_predictions({}, FURTHER, AMOUNTS),
            "scores must hold one method or more",
        ),
        (lambda: AgreementDisplay({"a": SCORES}, TRUTH, name="b"), "name is for a single method"),
        (
            lambda: AgreementDisplay.from_predictions(SCORES[1:], TRUTH),
            "scores and truth must have one shape",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums()


def test_a_table_has_a_column_for_each_method():
    table = pd.DataFrame({"gif": SCORES, "hif": TRUTH})
    display = AgreementDisplay.from_predictions(table, TRUTH)
    expected = AgreementDisplay.from_predictions({"gif": SCORES, "hif": TRUTH}, TRUTH)
    assert list(display.figures_) == ["gif", "hif"]
    for name, figures in expected.figures_.items():
        pd.testing.assert_frame_equal(display.figures_[name], figures)
    curves = RemovalCurveDisplay.from_scores(table, worth, fractions=FRACTIONS, random_state=0)
    assert {"gif", "hif"} <= set(curves.curves)
