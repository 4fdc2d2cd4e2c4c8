"""The code on the pages of ``docs/`` runs, and the API reference leaves no module out."""

import doctest
import pkgutil
from pathlib import Path

import pytest

import sam_attribution

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [
    path
    for path in sorted([*DOCS.glob("*.rst"), *DOCS.glob("user_guide/*.rst")])
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page):
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert not result.failed


def test_the_reference_lists_every_public_name():
    modules = [info.name for info in pkgutil.iter_modules(sam_attribution.__path__)]
    public = {f"sam_attribution.{name}" for name in modules if not name.startswith("_")}
    public |= {f"~sam_attribution.{name}" for name in sam_attribution.__all__}
    page = (DOCS / "api.rst").read_text(encoding="utf-8")
    assert public == {word for word in page.split() if "sam_attribution." in word}
