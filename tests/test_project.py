"""Versions that stand in more than one file are the same in all of them."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

import sam_attribution

ROOT = Path(__file__).resolve().parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def settings():
    parser = ConfigParser()
    parser.read_string(read("setup.cfg"))
    return parser


def lower_bounds(*groups):
    """Name and lowest version of every requirement in setup.cfg, of all groups or of some."""
    extras = settings()["options.extras_require"]
    named = {"install": settings()["options"]["install_requires"], **extras}
    texts = [named[group] for group in groups or named]
    return dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\w.]+)", "\n".join(texts), re.MULTILINE))


def constraints():
    return dict(re.findall(r"^([\w-]+)==([\w.]+)$", read(".github/oldest.txt"), re.MULTILINE))


def is_release_of(version, bound):
    """1.26.4 is a release of the bound 1.26, and 2.6.0 of 2.6."""
    return f"{version}.".startswith(f"{bound}.")


@pytest.mark.parametrize(("name", "version"), constraints().items())
def test_the_oldest_version_is_the_lower_bound(name, version):
    assert is_release_of(version, lower_bounds()[name])


def test_every_requirement_of_the_library_has_an_oldest_version():
    assert lower_bounds("install", "plot", "imblearn").keys() <= constraints().keys()


def test_pre_commit_runs_the_ruff_of_make():
    (ours,) = re.findall(r"^ +ruff==(\S+)$", read("setup.cfg"), re.MULTILINE)
    (hooks,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", read(".pre-commit-config.yaml"))
    assert hooks == ours


def test_ci_runs_the_python_versions_that_are_promised():
    promised = re.findall(r"Python :: (3\.\d+)$", read("setup.cfg"), re.MULTILINE)
    (matrix,) = re.findall(r"python: \[(.+)\]", read(".github/workflows/tests.yml"))
    assert re.findall(r"[\d.]+", matrix) == promised


def test_the_citation_has_the_version():
    (cited,) = re.findall(r"^version: (\S+)$", read("CITATION.cff"), re.MULTILINE)
    assert cited == sam_attribution.__version__


def test_the_tests_that_the_developers_page_names_are_there():
    named = set(re.findall(r"\btests/[\w/]+(?:\.py)?", read("CONTRIBUTING.md")))
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
