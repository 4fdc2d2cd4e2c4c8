"""Many queries: every way to read the rows, chunks of queries, and projected gradients."""

import errno
import os

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution.influence import SAMInfluence, _reading
from sam_attribution.influence._reading import choose_reading
from sam_attribution.methods import (
    GIF,
    HIF,
    GradDot,
    InfluenceFunction,
    Projected,
    RelatIF,
    Unrolled,
)
from sam_attribution.problem import gradients_of, row_gradients
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import Branching, SmallCNN, images, tabular, targets

X, y, weight = tabular(45)
X_query, y_query = -X[:9], y[:9]
SMALL = {"max_epochs": 3, "batch_size": 8, "dtype": "float64", "random_state": 0}
CLOSE = {"rtol": 1e-10, "atol": 1e-14}


def influence(estimator=None, rows=(X, y), **settings):
    estimator = SAMClassifier(**SMALL) if estimator is None else estimator
    held_out = settings.pop("validation", ValidationData(X_query, y_query))
    settings = {"method": "gif"} | settings
    return SAMInfluence(estimator, validation=held_out, **settings).fit(*rows)


def regressor():
    rows, values, _ = targets(45)
    held_out = ValidationData(-rows[:9], values[:9])
    return influence(SAMRegressor(**SMALL), (rows, values), validation=held_out), held_out


def pipeline():
    scaled = make_pipeline(StandardScaler(), SAMClassifier(**SMALL))
    return influence(scaled), ValidationData(X_query, y_query)


def frozen():
    net = SAMClassifier(**SMALL).fit(X, y)
    return influence(FrozenEstimator(net)), ValidationData(X_query, y_query)


def of_images():
    rows, labels = images(45)
    held_out = ValidationData(-rows[:9], labels[:9])
    return influence(
        SAMClassifier(SmallCNN, **SMALL), (rows, labels), validation=held_out
    ), held_out


def of(**settings):
    return lambda: (influence(**settings), ValidationData(X_query, y_query))


CASES = {
    "gif": of(),
    "gif checkpoint": of(method=GIF(query="checkpoint", n_checkpoints=3)),
    "gif adam": of(
        method=GIF(rates="effective", n_checkpoints=3),
        estimator=SAMClassifier(optimizer=torch.optim.Adam, **SMALL | {"lr": 0.01}),
    ),
    "gif every step": of(method=GIF(n_checkpoints=None)),
    "hif": of(method=HIF(damping=0.5)),
    "hif fast, margin": of(method=HIF("fast", damping=0.5), evaluation="margin"),
    "grad-cos": of(method="grad-cos"),
    "head": of(parameters="head"),
    "some": of(parameters="*weight"),
    # HIF's second direction is about all parameters
    "hif, some": of(parameters="*bias", method=HIF(damping=0.5)),
    "hif, head": of(parameters="head", method=HIF(damping=0.5)),
    "relatif": of(method=RelatIF(InfluenceFunction(damping=0.5))),
    "relatif, some": of(parameters="*bias", method=RelatIF(InfluenceFunction(damping=0.5))),
    "grad-cos, some": of(parameters="*bias", method="grad-cos"),
    "vmap fails": of(estimator=SAMClassifier(Branching, **SMALL)),
    "regressor": regressor,
    "pipeline": pipeline,
    "frozen": frozen,
    "images": of_images,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_way_gives_the_same_scores(name):
    fitted, asked = CASES[name]()
    tangents = fitted.attribute(asked.X, asked.y, how="tangents")
    gradients = fitted.attribute(asked.X, asked.y, how="row-gradients")
    np.testing.assert_allclose(gradients, tangents, **CLOSE)
    np.testing.assert_allclose(fitted.attribute(asked.X, asked.y), tangents, **CLOSE)
    if not name.startswith("grad-cos"):  # no mean over queries
        np.testing.assert_allclose(gradients.mean(0), fitted.scores_, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tangents", "row-gradients", "auto"])
def test_order_and_company_of_queries_do_not_matter(how, monkeypatch):
    fitted = influence(method=GIF(query="checkpoint", n_checkpoints=3))
    expected = fitted.attribute(X_query, y_query, how=how)
    order = np.random.default_rng(0).permutation(9)
    shuffled = fitted.attribute(X_query[order], y_query[order], how=how)
    np.testing.assert_allclose(shuffled, expected[order], **CLOSE)
    alone = fitted.attribute(X_query[4:5], y_query[4:5], how=how)
    np.testing.assert_allclose(alone, expected[4:5], **CLOSE)
    monkeypatch.setattr("sam_attribution.influence._reading._MOST_AT_ONCE", 2)
    np.testing.assert_allclose(fitted.attribute(X_query, y_query, how=how), expected, **CLOSE)


def test_two_calls_give_the_same_bits():
    fitted = influence(SAMClassifier(**SMALL | {"dtype": "float32"}))
    many = np.tile(X_query, (40, 1)), np.tile(y_query, 40)
    np.testing.assert_array_equal(fitted.attribute(*many), fitted.attribute(*many))


@pytest.mark.xdist_group("processes")
@pytest.mark.slow
def test_processes_that_share_rows_give_the_same_bits():
    expected, shared = influence(batch_size=4), influence(batch_size=4, n_jobs=2)
    for how in ("row-gradients", "tangents", Projected(64, random_state=0)):
        np.testing.assert_array_equal(
            shared.attribute(X_query, y_query, how=how),
            expected.attribute(X_query, y_query, how=how),
        )


def test_the_choice_goes_by_the_number_of_queries():
    found = influence().attributions_[0]
    few, many = (choose_reading("auto", found.problem, n) for n in (1, 3000))
    assert (few.name, many.name) == ("tangents", "row-gradients")
    assert many.at_once * found.problem.layout.size * 8 <= 2**29


def test_only_some_queries_are_asked_at_once(monkeypatch):
    fitted = influence()
    monkeypatch.setattr("sam_attribution.influence._reading._BYTES", 8 * 3 * 2000)
    attribution = fitted.attributions_[0]
    at_once = choose_reading("auto", attribution.problem, 9).at_once
    assert 1 <= at_once < 9
    parts = attribution.attribute(*fitted.attributions_[0].trained.tensors(X_query, y_query))
    assert {len(part) for part in parts} <= {at_once, 9 % at_once}


def test_one_progress_bar_over_the_queries_or_over_the_steps_of_a_few(capsys, monkeypatch):
    fitted = influence()
    fitted.attribute(X_query, y_query)
    assert capsys.readouterr().err == ""
    fitted = influence(verbose=1)
    capsys.readouterr()
    fitted.attribute(X_query, y_query)
    shown = capsys.readouterr().err
    assert "scoring rows" in shown
    assert "queries" not in shown
    monkeypatch.setattr(_reading, "_MOST_AT_ONCE", 4)
    fitted.attribute(X_query, y_query)
    shown = capsys.readouterr().err
    assert "scoring queries" in shown
    assert "/9 [" in shown
    assert "scoring rows" not in shown


def test_the_bar_of_self_influence_counts_rows(capsys):
    influence(verbose=1).self_influence()
    shown = capsys.readouterr().err
    assert "self-influence of the rows" in shown
    assert "/45 [" in shown  # the last step may be too short to be drawn


@pytest.mark.slow
def test_projected_scores_are_right_on_average_with_the_error_that_is_promised():
    fitted = influence(method="grad-dot")
    problem = fitted.attributions_[0].problem
    g_rows = torch.cat([each for _, each in row_gradients(problem, problem.params)]).numpy()
    X_asked, y_asked = fitted.attributions_[0].trained.tensors(X_query, y_query)
    asked = gradients_of(problem, problem.params, {}, X_asked, y_asked)
    g_queries = torch.cat([each for _, each in asked]).numpy()
    exact, squares = g_queries @ g_rows.T, (g_queries**2).sum(1)[:, None] * (g_rows**2).sum(1)
    np.testing.assert_allclose(fitted.attribute(X_query, y_query), exact / 45, **CLOSE)
    draws = [
        fitted.attribute(X_query, y_query, how=Projected(50, random_state=seed))
        for seed in range(200)
    ]
    standard = (np.stack(draws) * 45 - exact) / np.sqrt((squares + exact**2) / 50)
    assert np.abs(standard.mean(0)).max() < 5 / np.sqrt(200)
    assert 0.5 < np.sqrt((standard**2).mean()) <= 1.05


def test_projected_rows_are_taken_from_the_folder(tmp_path, monkeypatch):
    fitted = influence(method=GIF(n_checkpoints=4))
    how = Projected(64, folder=tmp_path)
    first = fitted.attribute(X_query, y_query, how=how)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files) == 4
    assert {path.suffix for path in files} == {".npy"}

    def fails(*args):
        raise AssertionError("rows are known")

    monkeypatch.setattr("sam_attribution.methods._projected.gradients_for", fails)
    np.testing.assert_array_equal(fitted.attribute(X_query, y_query, how=how), first)
    some = fitted.attribute(X_query[2:5], y_query[2:5], how=how)
    np.testing.assert_allclose(some, first[2:5], **CLOSE)
    other = influence(SAMClassifier(**SMALL | {"random_state": 1}), method=GIF(n_checkpoints=4))
    for model, asked in ((other, how), (fitted, Projected(64, folder=tmp_path, random_state=1))):
        with pytest.raises(AssertionError, match="rows are known"):
            model.attribute(X_query, y_query, how=asked)
    assert files.keys() <= set(tmp_path.iterdir())


def cut(content):
    return content[:-100]


def flipped(content):
    return content[:500] + bytes([content[500] ^ 1]) + content[501:]


@pytest.mark.parametrize(
    "change", [cut, flipped, lambda content: b"", lambda content: content[:40]]
)
def test_a_projected_file_that_changed_is_named(tmp_path, change):
    fitted = influence(method=GradDot())
    how = Projected(64, folder=tmp_path)
    first = fitted.attribute(X_query, y_query, how=how)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(change(whole))
    with pytest.raises(
        ValueError, match=rf"{file.name} is incomplete or was changed.* Delete the file"
    ):
        fitted.attribute(X_query, y_query, how=how)
    file.unlink()
    np.testing.assert_array_equal(fitted.attribute(X_query, y_query, how=how), first)
    assert file.read_bytes() == whole


def test_a_folder_for_projected_rows_without_room_is_named(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fitted = influence(method=GradDot())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"folder=.*file' cannot be .* Pass a folder, not a file"):
        fitted.attribute(X_query, y_query, how=Projected(64, folder=tmp_path / "file"))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"folder=.*run' cannot be .* free some space"):
        fitted.attribute(X_query, y_query, how=Projected(64, folder=tmp_path / "run"))
    assert not list((tmp_path / "run").iterdir())


def test_projected_gradients_cannot_be_measured_by_a_matrix():
    fitted = influence(method=RelatIF(InfluenceFunction(damping=0.5)))
    with pytest.raises(ValueError, match="RelativeProbe needs whole gradients"):
        fitted.attribute(X_query, y_query, how=Projected(64))


def test_projected_without_a_folder_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    influence().attribute(X_query, y_query, how=Projected(64))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["quickly", None, 3, np.array(["auto", "auto"]), Projected])
def test_another_way_is_refused(how):
    with pytest.raises(ValueError, match='how must be "auto", "tangents", "row-gradients" or a'):
        influence().attribute(X_query, y_query, how=how)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["tangents", "row-gradients", Projected()])
def test_methods_with_their_own_way_have_no_other(how):
    fitted = influence(method=Unrolled(check=None))
    with pytest.raises(ValueError, match='how must be "auto" with this method'):
        fitted.attribute(X_query, y_query, how=how)


def test_a_projection_to_nothing_is_refused():
    with pytest.raises(ValueError, match="'proj_dim' parameter of Projected"):
        influence().attribute(X_query, y_query, how=Projected(0))


@pytest.mark.slow
def test_projected_scores_of_some_parameters_take_the_directions_that_leave_them():
    """With far more numbers than parameters few of them share a sum."""
    fitted = influence(parameters="*bias", method=HIF(damping=0.5))
    exact = fitted.attribute(X_query, y_query)
    found = np.mean(
        [
            fitted.attribute(X_query, y_query, how=Projected(10**5, random_state=s))
            for s in (0, 1, 2)
        ],
        axis=0,
    )
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
