"""One browser for the tests of the page; they are slow, and skipped without one."""

import pytest

from sam_attribution.review import review_page


def pytest_itemcollected(item):
    if "driver" in item.fixturenames:
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def driver():
    pytest.importorskip("selenium", reason="the page is driven with selenium")
    from benchmarks.chromium import chromium, installed

    if None in installed():
        pytest.skip("needs chromium and chromedriver (Debian: chromium-driver)")
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def path(tmp_path_factory):
    """A page whose labels and texts would do harm if they were taken for code."""
    from tests.review import browsing

    return review_page(
        tmp_path_factory.mktemp("page") / "review.html",
        browsing.TEXTS,
        given=browsing.GIVEN,
        suggested=browsing.SUGGESTED,
        scores=browsing.SCORES,
        suspicious=browsing.SUSPICIOUS,
        score_components=browsing.COMPONENTS,
        label_scores=browsing.LABEL_SCORES,
        classes=browsing.LABELS,
        title="<i>Review</i>",
    )


@pytest.fixture
def opened(driver, path):
    """The page without decisions of an earlier test, all of its rows shown."""
    from tests.review import browsing

    browsing.load(driver, path)
    browsing.choose(driver, "state", "all rows")
    browsing.press(driver, "\ue00c")  # Escape: from the field back to the rows
    return driver
