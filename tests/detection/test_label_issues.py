"""Wrong labels by given probabilities: against the true noise, and what comes in odd forms."""

import numpy as np
import pandas as pd
import pytest

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.detection import label_issues
from sam_attribution.detection._probability_wrong import most_probable_f1
from sam_attribution.exceptions import AttributionWarning

N = 3000


def drawn(noise, seed=0):
    """Right labels drawn from probabilities, and labels of which a share is flipped."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.3, 0.3, N)
    right = (rng.random(N) < p).astype(int)
    wrong = rng.random(N) < noise
    return np.c_[1 - p, p], np.where(wrong, 1 - right, right), wrong


@pytest.fixture(scope="module")
def noisy():
    return drawn(0.2)


@pytest.fixture(scope="module")
def found(noisy):
    return label_issues(noisy[1], noisy[0])


def bayes(proba, y, rate):
    """Probability of a wrong label by Bayes' rule, where classes and noise are known."""
    given = proba[np.arange(len(y)), y]
    right, wrong = (1 - rate) * given, rate * (1 - given)
    return wrong / (right + wrong)


def test_clean_labels_between_the_classes_are_not_wrong():
    found = label_issues(*drawn(0)[1::-1])
    assert found.contamination < 0.01
    assert found.suspicious.mean() < 0.01


@pytest.mark.slow
def test_nothing_is_suspicious_where_most_probably_nothing_is_wrong():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    x = rng.normal(size=200) + 2.5 * y
    p = 1 / (1 + np.exp(-2.5 * (x - 1.25)))  # of class 1, exactly
    found = label_issues(y, np.c_[1 - p, p])
    X = np.c_[x - 1.25, rng.normal(size=200)]
    detector = MislabelDetector(SAMClassifier(max_epochs=5, lr=0.1), random_state=0).fit(X, y)
    judged = (
        (found.probability_wrong, found.scores, found.suspicious),
        (detector.probability_wrong_, detector.scores_, detector.suspicious_),
    )
    for probability, scores, suspicious in judged:
        assert most_probable_f1(probability, scores).any()  # the best F1 is less probable
        assert not suspicious.any()


def test_share_and_probabilities_are_those_of_bayes(noisy, found):
    proba, y, wrong = noisy
    low, high = found.contamination_interval
    assert low <= wrong.mean() <= high
    assert found.contamination == pytest.approx(wrong.mean(), abs=0.025)
    np.testing.assert_allclose(found.probability_wrong, bayes(proba, y, 0.2), atol=0.12)
    assert abs(found.probability_wrong - bayes(proba, y, 0.2)).mean() < 0.03
    np.testing.assert_allclose(found.transition, [[0.8, 0.2], [0.2, 0.8]], atol=0.03)


def test_the_numbers_tell_one_story(found):
    np.testing.assert_allclose(found.scores, np.log(1 / found.probability_wrong - 1), rtol=1e-9)
    assert found.probability_wrong.mean() == pytest.approx(found.contamination)
    sure = found.probability_wrong > 0.5
    np.testing.assert_array_equal(found.suggested_labels != found.given_labels, sure)
    assert (
        found.probability_wrong[found.suspicious].min()
        >= found.probability_wrong[~found.suspicious].max()
    )
    assert f"{found.suspicious.sum()} of {N}" in repr(found)
    assert str(found) == f"{found!r}\n{found.issues.head()}"


def test_the_table_has_the_index_of_y_and_starts_with_the_worst(noisy):
    proba, y, wrong = noisy
    names = pd.Index([f"row {number}" for number in range(N)])
    table = label_issues(pd.Series(y, names), proba).issues
    assert list(table) == [
        *("given_label", "suggested_label", "probability_wrong", "score", "is_suspicious")
    ]
    assert table["score"].is_monotonic_increasing
    assert set(table.index) == set(names)
    assert pd.Series(wrong, names)[table.index[:50]].mean() > 0.9
    np.testing.assert_array_equal(table.loc[names, "given_label"], y)


def test_classes_go_with_their_columns(noisy, found):
    proba, y, _ = noisy
    labels = np.array(["yes", "no"])[y]
    by_name = label_issues(labels, pd.DataFrame(proba, columns=["yes", "no"]))
    by_argument = label_issues(labels, proba, classes=["yes", "no"])
    for each in (by_name, by_argument):
        assert each.classes.tolist() == ["no", "yes"]
        np.testing.assert_allclose(each.scores, found.scores, atol=1e-3)
        np.testing.assert_allclose(each.transition, found.transition[::-1, ::-1], atol=1e-3)


def test_a_class_that_no_label_has_is_no_suggestion(noisy, found):
    proba, y, _ = noisy
    more = label_issues(y, np.c_[proba, np.zeros(N)], classes=[0, 1, 7])
    assert set(more.suggested_labels) == {0, 1}
    assert more.contamination == pytest.approx(found.contamination, abs=0.03)


def test_columns_of_classes_that_no_label_has_hide_no_wrong_label():
    """As of a classifier of many classes, of which the labels are two."""
    proba, y, _ = (each[:300] for each in drawn(0.1))
    more = np.hstack([0.9 * proba, np.full((300, 18), 0.1 / 18)])
    found = label_issues(y, more, classes=range(20))
    assert found.contamination == pytest.approx(label_issues(y, proba).contamination, abs=0.03)


def test_rows_with_nan_are_not_judged(noisy):
    proba, y, _ = noisy
    proba = proba.astype(np.float32)
    proba[:100, 0] = np.nan
    found, rest = label_issues(y, proba), label_issues(y[100:], proba[100:])
    expected = np.r_[np.full(100, np.nan), rest.scores]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.suggested_labels[:100], y[:100])
    assert not found.suspicious[:100].any()
    assert found.contamination == pytest.approx(rest.contamination, rel=1e-4)


def test_probabilities_of_0_and_1_are_no_certainty(noisy):
    proba, y, wrong = noisy
    found = label_issues(y, np.round(proba))
    assert np.isfinite(found.scores).all()
    low, high = found.contamination_interval
    assert low <= wrong.mean() <= high


def test_trusted_labels_are_right_and_teach_what_is_hard():
    """Labels that agree with the classes less than noise of 20 % would let them, but are right."""
    proba, y, wrong = drawn(0.2)
    flat = 0.5 + (proba - 0.5) * np.linspace(0.5, 1, N)[:, None]
    trusted = ~wrong & (np.arange(N) < 1500)
    found = label_issues(y, flat, trusted=trusted)
    assert found.probability_wrong[trusted].max() < 1e-9
    low, high = found.contamination_interval
    assert low <= found.contamination <= high


def test_a_row_of_weight_two_counts_as_two_rows(noisy):
    proba, y, _ = noisy
    weights = np.where(np.arange(N) < 500, 2, 1)
    twice = np.r_[np.arange(500), np.arange(N)]
    weighted, repeated = (
        label_issues(y, proba, sample_weight=weights),
        label_issues(y[twice], proba[twice]),
    )
    assert weighted.transition == pytest.approx(repeated.transition, abs=5e-3)


@pytest.mark.parametrize("unit", [3, 1e308])
def test_rows_of_weight_zero_count_as_if_they_were_not_there(noisy, unit):
    proba, y, _ = noisy
    weights = np.where(np.arange(N) < 300, unit, 0)
    weighted = label_issues(y, proba, sample_weight=weights)
    alone = label_issues(y[:300], proba[:300])
    assert weighted.contamination_interval == alone.contamination_interval
    np.testing.assert_allclose(weighted.probability_wrong[:300], alone.probability_wrong, atol=0.01)


def test_all_labels_are_trusted(noisy):
    proba, y, _ = noisy
    three = np.c_[proba, proba[:, :1] * 0][:200]
    found = label_issues(y[:200], three, classes=[0, 1, 2], trusted=np.ones(200, bool))
    assert found.contamination < 1e-9
    np.testing.assert_allclose(found.transition.sum(1), 1)


def test_a_class_of_which_most_labels_are_suspicious_is_named():
    """Nine of ten rows of the rarest class look like another one."""
    proba, y = np.full((400, 2), 0.02), np.arange(400) % 2
    proba[np.arange(400), y] = 0.98
    rare, y = np.arange(400) < 20, y.astype("U4")
    y[rare] = "rare"
    proba = np.c_[proba, np.zeros(400)]
    proba[:2] = [0, 0, 1]
    with pytest.warns(AttributionWarning, match="18 of the 20 rows of class 'rare'"):
        label_issues(y, proba)


@pytest.mark.parametrize("proba", [np.full((N, 2), 0.5), None], ids=["constant", "drawn"])
def test_without_skill_nothing_is_suspicious(proba):
    rng = np.random.default_rng(1)
    proba = rng.dirichlet([5, 5], N) if proba is None else proba
    with pytest.warns(AttributionWarning, match="hardly better than the class frequencies"):
        found = label_issues(rng.integers(0, 2, N), proba)
    assert not found.suspicious.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p: (y, p[:, 1]), r"proba should be a 2d array.*column_stack\(\[1 - p, p\]\)"),
        (lambda y, p: (y, p[:, 1:]), r"for each of the 2 classes, got 1. .*column_stack"),
        (lambda y, p: (y, pd.DataFrame(p, columns=[1, 1])), r"name each column .* got \[1, 1\]"),
        (lambda y, p: (y, p[:-1]), "proba must hold one value for each of the 3000 rows"),
        (lambda y, p: (y, np.c_[p, p * 0]), "one column for each of the 2 classes, got 4"),
        (lambda y, p: (y, np.log(p)), r"sum to 1 in each row, got \[-.*np.exp"),
        (lambda y, p: (y, 100 * p), "in row 0, one of 3000 such rows"),
        (lambda y, p: (y, p * np.nan), "every row has NaN"),
        (lambda y, p: (y, p + np.inf), "proba contains infinity"),
        (lambda y, p: (y * 0, np.c_[p[:, :1] * 0 + 1]), "at least two classes, got"),
        (lambda y, p: (y, pd.DataFrame(p, columns=["a", "b"])), r"no column of proba .* \[0, 1\]"),
    ],
)
def test_what_is_wrong_is_named(noisy, change, message):
    y, proba = change(noisy[1], noisy[0])
    with pytest.raises(ValueError, match=message):
        label_issues(y, proba)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"classes": 2}, ValueError, "classes should be a 1d array"),
        (
            {"classes": ["a", None]},
            TypeError,
            "classes must hold labels of one kind that can be sorted",
        ),
        ({"sample_weight": np.r_[1, np.zeros(N - 1)]}, ValueError, "sample_weight must be above 0"),
    ],
)
def test_odd_arguments_are_named(noisy, arguments, error, message):
    proba = noisy[0].copy()
    proba[0] = np.nan
    with pytest.raises(error, match=message):
        label_issues(noisy[1], proba, **arguments)


def test_the_report_is_read_back_by_row(noisy, tmp_path):
    proba, y, _ = noisy
    index = pd.RangeIndex(10, 10 + N)
    found = label_issues(pd.Series(y, index), proba)
    path = found.report(tmp_path / "page.html", proba, n_rows=20, title="Loans")
    text = path.read_text()
    assert "Loans" in text
    assert f'"{found.issues.index[0]}"' in text
    with pytest.raises(ValueError, match=r"X must show the 3000 rows that were judged.*got 5 rows"):
        found.report(tmp_path / "page.html", proba[:5])
