import os
import runpy

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution._jobs import in_parallel
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier
from tests.models import SmallCNN, images, tabular

X, y, weight = tabular(45)
PICTURES, PICTURE_LABELS = images(45)
# In one worker of pytest-xdist: joblib keeps its processes, and each has torch to import
PROCESSES = pytest.mark.xdist_group("processes")


def influence(module=None, **settings):
    clf = SAMClassifier(module, max_epochs=3, batch_size=8, random_state=0)
    estimator = clf if module else make_pipeline(StandardScaler(), clf)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return SAMInfluence(
        estimator,
        **{"method": "gif", "validation": folds} | settings,
        **{"evaluation": "margin", "aggregate": "worst-class"},
    )


def assert_same_bits(fitted, expected, rows):
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    np.testing.assert_array_equal(fitted.transform(rows), expected.transform(rows))
    np.testing.assert_array_equal(
        fitted.attribute(rows[:3], [0, 1, 2], split=1),
        expected.attribute(rows[:3], [0, 1, 2], split=1),
    )
    assert fitted.diagnostics_["steps"].tolist() == expected.diagnostics_["steps"].tolist()


@PROCESSES
@pytest.mark.slow
@pytest.mark.parametrize("module", [None, SmallCNN])
def test_processes_give_the_same_bits(module):
    rows, labels = (X, y) if module is None else (PICTURES, PICTURE_LABELS)
    expected = influence(module).fit(rows, labels)
    assert_same_bits(influence(module, n_jobs=2).fit(rows, labels), expected, rows)


@PROCESSES
@pytest.mark.slow
def test_processes_that_share_rows_give_the_same_bits():
    expected = one_split().fit(X, y, sample_weight=weight)
    fitted = one_split(n_jobs=2).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))
    np.testing.assert_array_equal(fitted.attribute(X, y), expected.attribute(X, y))


@pytest.mark.slow
def test_a_backend_that_gives_results_at_the_end():
    expected = influence().fit(X, y)
    with parallel_config(backend="multiprocessing", n_jobs=2):
        assert_same_bits(influence().fit(X, y), expected, X)


def one_split(**settings):
    return influence(**settings).set_params(validation=0.2, random_state=0, batch_size=4)


@pytest.mark.slow
def test_threads_that_share_rows_do_not_wait_for_each_other(monkeypatch):
    expected = one_split().fit(X, y)
    jobs = []

    def counted(function, arguments, *, n_jobs):
        arguments = list(arguments)
        jobs.append((function.__name__, len(arguments)))
        return in_parallel(function, arguments, n_jobs=n_jobs)

    monkeypatch.setattr("sam_attribution.influence._rows.in_parallel", counted)
    with parallel_config(backend="threading", n_jobs=3):
        fitted = one_split().fit(X, y)
    assert jobs == [("training_scores", 3)]
    np.testing.assert_array_equal(fitted.scores_, expected.scores_)


@pytest.mark.slow
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
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert os.getpid() not in client.run(_process_id).values()
        with parallel_config(backend="dask"):
            fitted = influence().fit(X, y)
            shared = one_split().fit(X, y)
        tasks = sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())
    assert tasks >= 5
    assert_same_bits(fitted, expected, X)
    np.testing.assert_array_equal(shared.scores_, one_split().fit(X, y).scores_)


IN_A_SCRIPT = """
import torch
from sklearn.model_selection import StratifiedKFold
from sam_attribution import SAMClassifier, SAMInfluence
from tests.models import tabular

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(6, 3)

if __name__ == "__main__":
    X, y, _ = tabular(45)
    clf = SAMClassifier(Net, max_epochs=2, random_state=0, verbose=0)
    settings = {"validation": StratifiedKFold(3), "random_state": 0}
    expected = SAMInfluence(clf, **settings).fit(X, y).scores_
    fitted = SAMInfluence(clf, n_jobs=2, **settings).fit(X, y)
    assert (fitted.scores_ == expected).all()
    print("same", type(fitted.estimator_.module_).__name__)
"""


@PROCESSES
@pytest.mark.slow
def test_a_module_defined_in_a_script_comes_back_from_its_processes(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(IN_A_SCRIPT)
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip() == "same Net"


def _process_id():
    return os.getpid()


@pytest.mark.slow
def test_every_split_has_a_trajectory_folder_of_its_own(tmp_path):
    expected = influence().fit(X, y)
    stored = influence()
    stored.estimator[-1].set_params(trajectory_dir=tmp_path)
    assert_same_bits(stored.fit(X, y), expected, X)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split_0", "split_1", "split_2"]


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("n_splits", [1, 3])
def test_progress_is_shown_when_asked_for(verbose, n_splits, capsys):
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    fitted = influence(validation=folds if n_splits > 1 else 0.3, verbose=verbose).fit(X, y)
    shown = capsys.readouterr().err
    assert ("training and scoring" in shown) == (verbose > 0 and n_splits > 1)
    assert ("scoring rows" in shown) == (verbose > (n_splits > 1))
    assert "SAMInfluence" not in shown
    fitted.transform(X)
    assert ("scoring rows" in capsys.readouterr().err) == (verbose > (n_splits > 1))


@pytest.mark.slow
def test_models_that_are_trained_again_are_counted(capsys):
    SAMInfluence(SAMClassifier(max_epochs=1), method="loo", verbose=1).fit(X, y)
    assert "retraining" in capsys.readouterr().err


def test_a_bad_n_jobs_is_named():
    with pytest.raises(ValueError, match="The 'n_jobs' parameter of SAMInfluence"):
        influence(n_jobs="all").fit(X, y)
