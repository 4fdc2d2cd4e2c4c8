"""The detection curve against counting by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from sam_attribution.influence import SAMInfluence
from sam_attribution.plotting import DetectionCurveDisplay

rng = np.random.default_rng(0)
WRONG = rng.random(40) < 0.3
SCORES = np.where(WRONG, -0.7, 0.0) + rng.normal(size=40)


def found_by_hand(order):
    """Per cent of the wrong rows found, after each row of an order of inspection."""
    hits = [0]
    for row in order:
        hits.append(hits[-1] + WRONG[row])
    return 100 * np.array(hits) / WRONG.sum()


def area_by_hand(scores):
    """Share of the pairs of a wrong and a right row in which the wrong one comes first."""
    pairs = [
        (scores[w] < scores[r]) + 0.5 * (scores[w] == scores[r])
        for w in np.flatnonzero(WRONG)
        for r in np.flatnonzero(~WRONG)
    ]
    return np.mean(pairs)


def test_curve_area_random_and_oracle():
    display = DetectionCurveDisplay.from_predictions(WRONG, SCORES, name="gif")
    (line,) = display.lines_
    np.testing.assert_allclose(line.get_xdata(), 100 * np.arange(41) / 40)
    np.testing.assert_allclose(line.get_ydata(), found_by_hand(np.argsort(SCORES)))
    assert line.get_label() == f"gif, AUC {area_by_hand(SCORES):.3f}"
    assert display.figures_["gif"]["auc"] == pytest.approx(area_by_hand(SCORES))
    best = [0, 100 * WRONG.mean(), 100], [0, 100, 100]
    np.testing.assert_allclose(display.oracle_line_.get_data(), best)
    np.testing.assert_array_equal(display.random_line_.get_data(), [[0, 100], [0, 100]])


def test_rows_without_a_score_come_last():
    scores = SCORES.copy()
    scores[:8] = np.nan
    display = DetectionCurveDisplay.from_predictions(WRONG, scores)
    judged = 8 + np.argsort(SCORES[8:])
    orders = [[*judged, *rng.permutation(8)] for _ in range(4000)]
    expected = np.mean([found_by_hand(order) for order in orders], axis=0)
    found = display.lines_[0].get_ydata()
    np.testing.assert_allclose(found[:33], expected[:33])
    np.testing.assert_allclose(found[33:], expected[33:], atol=1)
    last = np.where(np.isnan(scores), 1e9, scores)
    assert display.figures_["scores"]["auc"] == pytest.approx(area_by_hand(last))


def test_recall_at_a_share():
    display = DetectionCurveDisplay.from_predictions(WRONG, SCORES, name="gif", recall_at=0.25)
    lowest = np.argsort(SCORES)[:10]
    recall = WRONG[lowest].sum() / WRONG.sum()
    assert display.lines_[0].get_label() == f"gif, {recall:.0%} found in the first 25%"
    assert display.figures_["gif"]["recall at 25%"] == pytest.approx(recall)


def test_several_on_one_axes_share_the_references_and_differ_in_looks():
    first = DetectionCurveDisplay.from_predictions(WRONG, {"gif": SCORES, "hif": -SCORES})
    second = DetectionCurveDisplay.from_predictions(WRONG, SCORES**2, name="loss", ax=first.ax_)
    third = DetectionCurveDisplay.from_predictions(
        WRONG, pd.DataFrame({"a": SCORES, "b": SCORES}), ax=first.ax_
    )
    assert second.random_line_ is first.random_line_
    assert third.oracle_line_ is first.oracle_line_
    lines = first.lines_ + second.lines_ + third.lines_
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 5
    shown = [text.get_text().split(",")[0] for text in first.ax_.get_legend().get_texts()]
    references = ["oracle: wrong labels only", "rows in random order"]
    assert shown == ["gif", "hif", "loss", "a", "b", *references]


def test_other_wrong_rows_have_another_oracle():
    first = DetectionCurveDisplay.from_predictions(WRONG, SCORES)
    second = DetectionCurveDisplay.from_predictions(~WRONG, SCORES, ax=first.ax_)
    assert second.oracle_line_ is not first.oracle_line_


def test_from_estimator_reads_scores():
    class Detector:
        scores_ = SCORES

    display = DetectionCurveDisplay.from_estimator(Detector(), WRONG)
    expected = DetectionCurveDisplay.from_predictions(WRONG, SCORES, name="Detector")
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), expected.lines_[0].get_ydata())
    assert display.lines_[0].get_label() == expected.lines_[0].get_label()
    named = DetectionCurveDisplay.from_estimator(Detector(), WRONG, name="mine", recall_at=0.1)
    assert named.lines_[0].get_label().startswith("mine, ")


@pytest.mark.parametrize(
    ("detector", "got"),
    [
        (SAMInfluence(), "SAMInfluence without scores_"),
        (SimpleNamespace(scores_=None), "SimpleNamespace without scores_"),
        (SAMInfluence, "the class SAMInfluence without scores_"),
    ],
)
def test_what_is_not_fitted_is_refused(detector, got):
    with pytest.raises(NotFittedError, match=f"detector must be fitted .* got {got}. Call its fit"):
        DetectionCurveDisplay.from_estimator(detector, WRONG)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WRONG, SCORES[1:]), "is_wrong must hold one value for each of the 39 rows, got 40"),
        ((np.zeros(40, bool), SCORES), "is_wrong must hold True and False, got only False"),
        ((np.arange(40), SCORES), "is_wrong must hold True and False only"),
        ((WRONG, np.full(40, np.nan)), "scores must hold a number, got NaN for every row"),
        ((WRONG, np.eye(40)), "scores should be a 1d array, got"),
        ((WRONG, np.append(SCORES[1:], np.inf)), "Input scores contains infinity"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DetectionCurveDisplay.from_predictions(*arguments)


def test_a_bad_share_is_named():
    with pytest.raises(ValueError, match="recall_at == 10, must be <= 1"):
        DetectionCurveDisplay.from_predictions(WRONG, SCORES, recall_at=10)
