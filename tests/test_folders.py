"""Paths of the user: home, none at all, too long."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from sam_attribution import FilteredClassifier, SAMInfluence
from sam_attribution._folders import user_path
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.review import apply_decisions, review_page
from sam_attribution.training import SAMClassifier
from tests.models import tabular

X, y, _ = tabular(24)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def net(**settings):
    return SAMClassifier(max_epochs=1, batch_size=12, trajectory=1, random_state=0, **settings)


@pytest.mark.slow
def test_a_tilde_is_the_home_of_the_user(home):
    run = net(trajectory_dir="~/run").fit(X, y)
    again = SAMClassifier.resume(Path("~/run"), X, y)
    np.testing.assert_array_equal(run.predict(X), again.predict(X))
    run.partial_fit(X, y)
    page = review_page("~/page.html", X, given=y, suggested=y, scores=np.arange(24.0))
    (home / "decided.csv").write_text("row,given,decision,label\n")
    assert len(apply_decisions(X, y, "~/decided.csv")[1]) == 24
    SAMInfluence(net(), method=LeaveOneOut(rows=[1], resume_dir="~/loo"), random_state=0).fit(X, y)
    assert page == home / "page.html"
    assert {"run", "page.html", "loo"} <= {each.name for each in home.iterdir()}
    assert not list(Path().iterdir())


@pytest.mark.slow
def test_one_folder_for_each_split_lies_at_home(home):
    SAMInfluence(net(trajectory_dir="~/runs"), validation=KFold(2), random_state=0).fit(X, y)
    assert [each.name for each in sorted((home / "runs").iterdir())] == ["split_0", "split_1"]


@pytest.mark.parametrize("path", ["", " ", "a\0b", Path("a\0b")])
def test_what_names_no_place_is_refused(home, path):
    with pytest.raises(ValueError, match="trajectory_dir must be a path, got"):
        net(trajectory_dir=path).fit(X, y)
    with pytest.raises(ValueError, match="trajectory_dir must be a path, got"):
        SAMInfluence(net(trajectory_dir=path), validation=KFold(2)).fit(X, y)
    with pytest.raises(ValueError, match="path must be a path, got"):
        review_page(path, X, given=y, suggested=y, scores=np.arange(24.0))
    assert not list(Path().iterdir())


@pytest.mark.parametrize("path", ["a" * 300, "run/" + "b" * 300])
def test_a_name_that_is_too_long_is_named(home, path):
    with pytest.raises(OSError, match=r"trajectory_dir='.*' cannot .*too long\. Pass a shorter"):
        net(trajectory_dir=path).fit(X, y)


@pytest.mark.parametrize("path", [3, None, X])
def test_what_is_no_path_is_named(path):
    with pytest.raises(TypeError, match=r"path must be a path, got (int|NoneType|ndarray)"):
        review_page(path, X, given=y, suggested=y, scores=y)
    if path is not None:
        with pytest.raises(TypeError, match="decisions must be a path, a file or a DataFrame, got"):
            review_page("never", X, given=y, suggested=y, scores=y, decisions=path)


def test_a_file_that_cannot_be_opened_is_named(home):
    page = {"given": y, "suggested": y, "scores": y}
    with pytest.raises(IsADirectoryError, match=r"path='.*' cannot be opened: Is a directory"):
        review_page(home, X, **page)
    with pytest.raises(FileNotFoundError, match=r"path='.*x\.html' cannot be opened: No such"):
        review_page(home / "none" / "x.html", X, **page)
    with pytest.raises(FileNotFoundError, match=r"csv='.*none\.csv' cannot be opened: No such"):
        apply_decisions(X, y, home / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"decisions='.*none\.csv' cannot be opened"):
        review_page(home / "x.html", X, **page, decisions=home / "none.csv")


def test_other_arguments_name_themselves(home):
    influence = SAMInfluence(net(), method=LeaveOneOut(rows=[1], resume_dir=""), random_state=0)
    with pytest.raises(ValueError, match="resume_dir must be a path, got ''"):
        influence.fit(X, y)
    filtered = FilteredClassifier(net(), memory="", random_state=0)
    with pytest.raises(ValueError, match="memory must be a path, got ''"):
        filtered.fit(X, y)
    assert user_path(home, "folder") == home
    assert user_path("~/x", "folder") == home / "x"
