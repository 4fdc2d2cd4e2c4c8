"""Skill of class scores, against scikit-learn's AUC, and what a detector says without any."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.detection._calibrated_classes import JudgedRows
from sam_attribution.detection._label_skill import LabelSkill, ScoreExcess
from sam_attribution.exceptions import AttributionWarning

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 300)


def scores_with(skill, y=Y):
    return RNG.normal(size=(len(y), 2)) + skill * np.eye(2)[y]


def test_of_two_classes_it_is_twice_the_normal_scores_of_one():
    scores = scores_with(0.5)
    ranks = rankdata(scores[:, 1] - scores[:, 0])
    expected = 2 * norm.ppf((ranks[Y == 1] - 0.5) / len(Y)).sum()
    assert ScoreExcess.of(scores, Y).total == pytest.approx(expected)


def test_its_variance_is_that_of_shuffled_labels():
    y = np.repeat([0, 1, 2], [60, 24, 6])
    scores = RNG.normal(size=(90, 3)) * [1, 2, 0.1]
    shuffled = [ScoreExcess.of(scores, RNG.permutation(y)) for _ in range(500)]
    totals = np.array([each.total for each in shuffled])
    assert totals.mean() == pytest.approx(0, abs=1.5)
    assert totals.var() == pytest.approx(shuffled[0].variance, rel=0.25)


def test_constant_scores_have_no_skill():
    assert ScoreExcess.of(np.ones((300, 2)), Y).in_standard_errors == 0


def test_a_rare_class_counts():
    """12 right rows among 48 of 700 are enough."""
    y = np.repeat([0, 1], [652, 48])
    scores = RNG.normal(size=(700, 2))
    scores[-12:, 1] += 6
    assert ScoreExcess.of(scores, y).in_standard_errors > 2.33


def skill_of(*skills):
    networks = [(scores_with(skill), Y) for skill in skills]
    rows = np.arange(300)
    noise = SimpleNamespace(labels=Y, judged=[JudgedRows(rows, [each[0] for each in networks])])
    return LabelSkill(noise, networks)


@pytest.mark.parametrize(
    ("skills", "is_chance", "by_chance"),
    [
        ((0.0,), True, []),
        ((1.0,), False, []),
        ((1.0, 1.0, 0.0), False, [2]),
        ((0.0, 0.0, 0.0), True, []),
        ((1.0, 0.8, 1.2), False, []),
    ],
)
def test_a_split_without_skill_stands_out_among_others(skills, is_chance, by_chance):
    found = skill_of(*skills)
    assert (found.is_chance, found.by_chance) == (is_chance, by_chance)
    assert len(found.of_splits) == len(skills)


def test_rows_without_a_noise_model_are_judged_by_the_networks():
    noise = SimpleNamespace(labels=Y, judged=[])
    assert not LabelSkill(noise, [(scores_with(1.0), Y)]).is_chance


@pytest.mark.parametrize("is_constant", [True, False])
def test_where_rows_say_nothing_no_row_is_suspicious(is_constant):
    rng = np.random.default_rng(0)
    X = np.ones((120, 3)) if is_constant else rng.normal(size=(120, 3))
    detector = MislabelDetector(SAMClassifier(max_epochs=2, random_state=0), random_state=0)
    with pytest.warns(AttributionWarning, match="no label is called suspicious") as caught:
        detector.fit(X, rng.integers(0, 3, 120))
    assert not detector.suspicious_.any()
    assert not detector.issues_.is_suspicious.any()
    assert not any("is uncertain" in str(each.message) for each in caught)
