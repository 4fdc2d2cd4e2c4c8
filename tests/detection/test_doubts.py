"""Warnings of weak scores and of an unknown share, on values made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from sam_attribution.detection._doubts import warn_of_unknown_share, warn_of_weak_evidence
from sam_attribution.detection._probability_wrong import (
    expected_auc,
    expected_quality,
    most_probable_f1,
    wrong_by_class,
)
from sam_attribution.exceptions import AttributionWarning

SURE = np.array([0.99, 0.95, 0.02, 0.01]), np.array([-3.0, -2, 3, 4])
VAGUE = np.array([0.3, 0.3, 0.3, 0.3]), np.array([-3.0, -2, 3, 4])


def test_the_expected_auc_is_the_mean_over_drawn_labels():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=9)
    probability = 1 / (1 + np.exp(1.5 * scores))
    drawn = rng.random((100_000, 9)) < probability
    below = scores[:, None] < scores
    hits = ((drawn.astype(float) @ below) * ~drawn).sum(1)
    pairs = drawn.sum(1) * (~drawn).sum(1)
    assert expected_auc(probability, scores) == pytest.approx(hits.sum() / pairs.sum(), abs=0.005)
    with_unjudged = np.append(probability, np.nan), np.append(scores, np.nan)
    assert expected_auc(*with_unjudged) == pytest.approx(expected_auc(probability, scores))


def test_expected_precision_and_recall_are_means_over_drawn_labels():
    rng = np.random.default_rng(0)
    probability, suspicious = rng.random(9), np.arange(9) < 4
    drawn = rng.random((200_000, 9)) < probability
    found = expected_quality(np.append(probability, np.nan), np.append(suspicious, False))
    precision = drawn[:, :4].mean()
    assert found["expected_precision"] == pytest.approx(precision, abs=0.005)
    recall = drawn[:, :4].sum() / drawn.sum()
    assert found["expected_recall"] == pytest.approx(recall, abs=0.005)
    assert np.isnan([*expected_quality(probability, np.zeros(9, bool)).values()]).all()


def test_the_cut_takes_none_where_no_row_stands_out():
    assert not most_probable_f1(*VAGUE).any()
    assert most_probable_f1(*SURE).tolist() == [True, True, False, False]


def test_shares_by_class():
    probability = np.array([0.1, 0.3, 0.9, np.nan, np.nan])
    shares = wrong_by_class(probability, np.array(["a", "a", "b", "b", "c"]))
    assert list(shares) == ["b", "a", "c"]
    assert (shares["a"], shares["b"]) == (0.2, 0.9)
    assert np.isnan(shares["c"])


def skill(*, is_chance=False, by_chance=(), n_splits=1):
    return SimpleNamespace(is_chance=is_chance, by_chance=by_chance, of_splits=[0] * n_splits)


@pytest.mark.parametrize(
    ("found", "values", "message"),
    [
        (skill(is_chance=True), SURE, "predict the held-out labels hardly better.* Help"),
        (skill(is_chance=True, n_splits=5), SURE, "held-out labels of all 5 splits hardly"),
        (skill(by_chance=[1, 3], n_splits=5), SURE, "In split 1, 3 of diagnostics_ the network"),
        (skill(), VAGUE, r"below a right one in only 50% of the pairs"),
    ],
)
def test_weak_evidence(found, values, message):
    with pytest.warns(AttributionWarning, match=message):
        warn_of_weak_evidence(found, *values, lambda: "Help.")


def test_good_scores_are_not_doubted(recwarn):
    warn_of_weak_evidence(skill(), *SURE, None)
    warn_of_unknown_share(0.2, share(0.15, 0.25, 0.24), trust=False, is_one_split=True)
    warn_of_unknown_share(0.0, share(0, 0, 0.3), trust=True, is_one_split=False)
    warn_of_unknown_share(0.01, share(0, 0.04, 0.05), trust=True, is_one_split=False)
    warn_of_unknown_share(0.03, share(0.01, 0.07, 0.1), trust=True, is_one_split=False)
    assert not recwarn


def test_scores_are_not_doubted_where_no_label_is_wrong(recwarn):
    """Probabilities of nearly nothing are all alike: the expected AUC would be one half."""
    nothing = np.full(200, 1e-6), np.arange(200.0)
    assert expected_auc(*nothing) == 1
    warn_of_weak_evidence(skill(), *nothing, lambda: "Help.")
    assert not recwarn


def test_a_share_of_nearly_nothing_is_said_with_three_decimals():
    with pytest.warns(AttributionWarning, match=r"contamination_=0 \(.*to MislabelDetector \("):
        warn_of_unknown_share(6.4e-5, share(0, 0, 0.18), trust=False, is_one_split=True)


def share(low, high, disagreement):
    rates = np.linspace(0, 0.6, 61)
    return SimpleNamespace(interval=(low, high), disagreement=lambda: disagreement, rates=rates)


@pytest.mark.parametrize(
    ("found", "trust", "is_one_split", "message"),
    [
        (
            share(0, 0.03, 0.35),
            False,
            True,
            "0 to 0.03.*35%.*or the classes overlap.*ValidationData",
        ),
        (
            share(0.1, 0.4, 0.3),
            False,
            True,
            r"ly well\. To find out, .*ValidationData.* Folds \(validation=5\)",
        ),
        (
            share(0.1, 0.4, 0.3),
            False,
            False,
            r"ly well\. To find out, pass a few .*, y_checked\), trusted=True\)\.$",
        ),
        (share(0.1, 0.4, 0.3), True, False, r"equally well\.$"),
        (share(0.1, 0.4, np.nan), True, False, r"is uncertain\. Many noise rates fit"),
        (share(0, 0.07, 0.1), True, False, r"All labels may be right\.$"),
        (share(0.5, 0.6, 0.5), False, False, "that is tried is 60%, and more labels may be wrong"),
    ],
)
def test_an_unknown_share_is_said_beside_the_other_suggestions(found, trust, is_one_split, message):
    beside = rf"contamination_=0\.02 \(90% interval .*{message}"
    with pytest.warns(AttributionWarning, match=beside):
        warn_of_unknown_share(0.02, found, trust=trust, is_one_split=is_one_split)
