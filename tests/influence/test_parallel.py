import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier
from tests.models import SmallCNN, images, tabular

X, y, weight = tabular(45)
PICTURES, PICTURE_LABELS = images(45)


def influence(module=None, **settings):
    clf = SAMClassifier(module, max_epochs=3, batch_size=8, random_state=0)
    estimator = clf if module else make_pipeline(StandardScaler(), clf)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return SAMInfluence(
        estimator, validation=folds, evaluation="margin", aggregate="worst-class", **settings
    )


def assert_same_bits(fitted, expected, rows):
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    np.testing.assert_array_equal(fitted.transform(rows), expected.transform(rows))
    np.testing.assert_array_equal(
        fitted.attribute(rows[:3], [0, 1, 2], split=1),
        expected.attribute(rows[:3], [0, 1, 2], split=1),
    )
    assert fitted.diagnostics_["steps"].tolist() == expected.diagnostics_["steps"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("module", [None, SmallCNN])
def test_processes_give_the_same_bits(module):
    rows, labels = (X, y) if module is None else (PICTURES, PICTURE_LABELS)
    expected = influence(module).fit(rows, labels)
    assert_same_bits(influence(module, n_jobs=2).fit(rows, labels), expected, rows)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [2, 3])
def test_processes_that_share_rows_give_the_same_bits(n_jobs):
    settings = {"validation": 0.2, "random_state": 0, "batch_size": 4}
    expected = influence().set_params(**settings).fit(X, y, sample_weight=weight)
    fitted = influence(n_jobs=n_jobs).set_params(**settings).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))
    np.testing.assert_array_equal(fitted.attribute(X, y), expected.attribute(X, y))


def test_threads_take_turns():
    """They would draw from one random stream of torch, and share forward mode's levels."""
    expected = influence().fit(X, y, sample_weight=weight)
    before = torch.get_rng_state()
    with parallel_config(backend="threading", n_jobs=3):
        fitted = influence().fit(X, y, sample_weight=weight)
    assert_same_bits(fitted, expected, X)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits():
    distributed = pytest.importorskip("distributed")
    expected = influence().fit(X, y)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(set(client.run(_process_id).values())) == 2
        with parallel_config(backend="dask"):
            fitted = influence().fit(X, y)
        tasks = sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())
    assert tasks >= 3
    assert_same_bits(fitted, expected, X)


def _process_id():
    import os

    return os.getpid()


def test_every_split_has_a_trajectory_folder_of_its_own(tmp_path):
    expected = influence().fit(X, y)
    stored = influence()
    stored.estimator[-1].set_params(trajectory_dir=tmp_path)
    assert_same_bits(stored.fit(X, y), expected, X)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split_0", "split_1", "split_2"]


@pytest.mark.parametrize(("verbose", "bars"), [(0, []), (1, ["split"]), (2, ["split", "probes"])])
def test_progress_is_shown_when_asked_for(verbose, bars, capsys):
    fitted = influence(verbose=verbose).fit(X, y)
    shown = capsys.readouterr().err
    assert [word for word in ("split", "probes") if word in shown] == bars
    fitted.transform(X)
    assert ("probes" in capsys.readouterr().err) == (verbose > 1)


def test_a_bad_n_jobs_is_named():
    with pytest.raises(ValueError, match="The 'n_jobs' parameter of SAMInfluence"):
        influence(n_jobs="all").fit(X, y)
