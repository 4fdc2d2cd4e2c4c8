"""The table of all labels: what a detector leaves, how it prints, and the page that shows it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, make_blobs
from sklearn.preprocessing import scale

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.datasets import symmetric_noise
from sam_attribution.detection._issues import issue_table
from sam_attribution.exceptions import AttributionWarning
from tests.review.page_reader import data_of, unpacked

COLUMNS = ["given_label", "suggested_label", "probability_wrong", "score", "is_suspicious"]


@pytest.fixture(scope="module")
def flowers():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = pd.DataFrame(scale(X), index=[f"flower {k}" for k in range(150)])
    given, wrong = symmetric_noise(
        np.array(["setosa", "versicolor", "virginica"])[y], 0.2, random_state=0
    )
    detector = MislabelDetector(SAMClassifier(lr=0.1, random_state=0), random_state=0)
    return X, given, wrong, detector.fit(X, given)


def test_every_row_is_in_the_table_with_what_the_attributes_say(flowers):
    X, given, _, detector = flowers
    issues = detector.issues_
    assert list(issues.columns) == COLUMNS
    assert set(issues.index) == set(X.index)
    at = issues.loc[X.index]
    np.testing.assert_array_equal(at.given_label, given)
    np.testing.assert_array_equal(at.suggested_label, detector.suggested_labels_)
    np.testing.assert_array_equal(at.probability_wrong, detector.probability_wrong_)
    np.testing.assert_array_equal(at.score, detector.scores_)
    np.testing.assert_array_equal(at.is_suspicious, detector.suspicious_)


def test_the_worst_come_first(flowers):
    _, _, wrong, detector = flowers
    issues = detector.issues_
    assert issues.score.is_monotonic_increasing
    assert issues.probability_wrong.is_monotonic_decreasing
    n = issues.is_suspicious.sum()
    assert issues.is_suspicious[:n].all()
    first = [int(name.split()[1]) for name in issues.index[:20]]
    assert wrong[first].mean() > 0.8


@pytest.mark.slow
def test_it_prints_a_row_on_a_line_of_80_columns(flowers):
    issues = flowers[-1].issues_
    scores = np.linspace(-45, 45, 10_000)
    long = issue_table(scores.astype(int), scores.astype(int), scores**2 / 1e9, scores, scores < 0)
    for table, n_lines in ((issues.head(10), 11), (long, 14)):  # with a gap and the shape
        lines = repr(table).splitlines()
        assert len(lines) == n_lines
        assert max(map(len, lines)) <= 80
        assert "e-" not in repr(table)
    assert "<td>0.99" in issues.head(10)._repr_html_() or "<td>1.000" in issues._repr_html_()


def test_long_names_of_classes_hide_no_column():
    given, suggested = ["a foundation of brick and tile"], ["a foundation of poured concrete"]
    table = issue_table(given, suggested, np.array([0.97]), np.array([-3.2]), [True])
    header, row = repr(table).splitlines()
    assert header.split() == COLUMNS
    assert row.split()[-3:] == ["0.970", "-3.200", "True"]


def test_numbers_are_exact_and_the_table_can_be_kept(flowers, tmp_path):
    issues = flowers[-1].issues_
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(issues)), issues)
    issues.to_csv(tmp_path / "issues.csv")
    back = pd.read_csv(tmp_path / "issues.csv", index_col=0, converters={"score": float})
    np.testing.assert_array_equal(back.score, issues.score)


def test_rows_without_a_score_come_last():
    table = issue_table(
        ["a", "b", "a"],
        ["a", "b", "b"],
        np.array([np.nan, 0.1, 0.9]),
        np.array([np.nan, 2.0, -2.0]),
        np.array([False, False, True]),
    )
    assert table.index.tolist() == [2, 1, 0]


def test_the_page_shows_the_same_probability(flowers, tmp_path):
    X, _, _, detector = flowers
    data = data_of(detector.report(tmp_path / "page.html", X))
    shown = unpacked(data["wrong"], "<f4")
    np.testing.assert_allclose(shown, detector.issues_.probability_wrong, rtol=1e-6)
    texts = data["labels"]["texts"]
    suggested = [texts[code] for code in unpacked(data["suggested"], "<i4")]
    assert suggested == detector.issues_.suggested_label.tolist()


def test_shares_by_class_average_to_the_share_of_all(flowers):
    _, given, _, detector = flowers
    shares = detector.diagnostics_.loc[0, "wrong_by_class"]
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    mean = sum(share * (given == label).sum() for label, share in shares.items()) / len(given)
    assert mean == pytest.approx(detector.contamination_, abs=1e-3)


def rare_class(n_rare, n_wrong):
    """1 for `n_rare` right rows, then `n_wrong` rows of class 0 that were called 1."""
    X, y = make_blobs([n_rare, 400], centers=[[2.5, 2.5], [0, 0]], random_state=0, shuffle=False)
    given = (y == 0).astype(int)
    given[n_rare : n_rare + n_wrong] = 1
    return X, given


@pytest.mark.slow
def test_right_rows_of_a_rare_class_keep_their_label():
    X, given = rare_class(32, 16)
    settings = {"max_epochs": 10, "lr": 0.1, "batch_size": 64}
    detector = MislabelDetector(SAMClassifier(**settings, random_state=0), random_state=0)
    detector.fit(X, given)
    suggested = detector.suggested_labels_
    assert (suggested[:32] == 0).sum() <= 6
    assert (suggested[32:48] == 0).sum() >= 10


@pytest.mark.slow
def test_a_class_that_is_mostly_suspicious_is_named():
    X, given = rare_class(12, 36)
    settings = {"max_epochs": 10, "lr": 0.1, "batch_size": 64}
    detector = MislabelDetector(SAMClassifier(**settings, random_state=0), random_state=0)
    with pytest.warns(AttributionWarning, match=r"\d+ of the 48 rows of class 1 are suspicious"):
        detector.fit(X, given)
    assert max(detector.diagnostics_.loc[0, "wrong_by_class"]) == 1
