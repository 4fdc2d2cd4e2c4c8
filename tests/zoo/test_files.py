"""Mutated files are read as what they say, or refused by name."""

import shutil
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.zoo.files import decisions_outcome, run_outcome, stored_run

DRAWN = settings(
    max_examples=200,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@given(seed=st.integers(0, 10**6))
@DRAWN
def test_mutated_decisions(seed):
    assert decisions_outcome(seed) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    return SimpleNamespace(path=path, run=stored_run(path))


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
@settings(DRAWN, max_examples=60)
def test_mutated_runs(folder, seed):
    twin = folder.path.parent / "twin"
    shutil.rmtree(twin, ignore_errors=True)
    assert run_outcome(seed, folder, twin) is None
