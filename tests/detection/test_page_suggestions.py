"""Suspicious rows whose suggestion is their given label get another one on the page."""

import numpy as np

from sam_attribution.detection import label_issues
from sam_attribution.detection._page_suggestions import page_suggestions
from tests.review.page_reader import data_of, unpacked

CLASSES = np.array(["cat", "dog", "ship"], dtype=object)


def test_a_suspicious_row_gets_the_most_probable_other_label():
    given = np.array(["cat", "cat", "dog", "ship"], dtype=object)
    suggested = np.array(["cat", "cat", "ship", "ship"], dtype=object)
    proba = [[0.6, 0.1, 0.3], [0.6, 0.1, 0.3], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]]
    suspicious = np.array([True, False, True, True])
    found = page_suggestions(suggested, given, suspicious, np.log(proba), CLASSES)
    assert found.tolist() == ["ship", "cat", "ship", "dog"]
    assert suggested.tolist() == ["cat", "cat", "ship", "ship"]


def test_the_page_of_label_issues_suggests_another_label_for_each_suspicious_row(tmp_path):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1, 1], size=400)
    y = np.array([rng.choice(3, p=row) for row in proba])
    y[::4] = (y[::4] + 1) % 3
    found = label_issues(y, proba)
    agree = found.suspicious & (found.suggested_labels == y)
    assert agree.any()
    data = data_of(found.report(tmp_path / "page.html", proba))
    rows = unpacked(data["rows"], "<i4")
    differs = unpacked(data["given"], "<i4") != unpacked(data["suggested"], "<i4")
    assert differs[found.suspicious[rows]].all()
    same = (found.suggested_labels == y)[rows] & ~found.suspicious[rows]
    assert not differs[same].any()
