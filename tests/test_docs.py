"""The code on the pages of ``docs/`` runs."""

import contextlib
import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = [
    path
    for path in sorted([*DOCS.glob("*.rst"), *DOCS.glob("[!_]*/*.rst")])
    if path.parent.name != "auto_examples" and ">>>" in path.read_text(encoding="utf-8")
]


NEEDS = {"pretrained": "transformers", "images": "torchvision"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason="pip install sam-attribution[examples]")
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_fits_its_column(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [
        line for line in lines if line.startswith((">>> ", "...  ")) and len(shown(line)) > 79
    ]


def shown(line):
    """Sphinx hides the flags of doctest."""
    return re.sub(r"\s*# doctest:.*", "", line)


def code_blocks(language):
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_readme_prints_what_it_says(tmp_path, capsys):
    names = {}
    with contextlib.chdir(tmp_path):
        for block in code_blocks("python"):
            exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out == "".join(code_blocks("text"))
    assert (tmp_path / "review.html").exists()
    assert len(names["errors"]) > 0
