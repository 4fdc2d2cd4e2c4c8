"""FilteredClassifier(refit="replay"): the end of one training without the dropped rows."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.datasets import make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector

from sam_attribution import FilteredClassifier, SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.exceptions import AttributionWarning
from sam_attribution.filtering._replayed_refit import _STORE

X, y = make_blobs(60, centers=3, random_state=0)
X = X.astype("float32")
FALLING = ("rate", LRScheduler("CosineAnnealingLR", T_max=12))
NET = SAMClassifier(max_epochs=12, lr=0.1, optimizer__momentum=0.9, batch_size=20, random_state=3)


class FirstFeature(BaseEstimator):
    def fit(self, X, y):
        self.scores_ = np.asarray(X)[:, 0].astype(float)
        return self


class Fixed(BaseEstimator):
    def __init__(self, scores):
        self.scores = scores

    def fit(self, X, y):
        self.scores_ = self.scores.astype(float)
        return self


def replayed(net=NET, **parameters):
    return FilteredClassifier(
        net,
        **{"scorer": FirstFeature(), "removal_fraction": 0.1, "refit": "replay", "random_state": 0}
        | parameters,
    )


def weights(net):
    return parameters_to_vector(net.module_.parameters()).detach()


@pytest.fixture(autouse=True)
def fresh_cache():
    _STORE._entries.clear()


@pytest.fixture
def n_trainings(monkeypatch):
    """Every fit of a net, a list."""
    found, fit = [], SAMClassifier.fit

    def counted(self, *args, **kwargs):
        found.append(len(args[0]))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(SAMClassifier, "fit", counted)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_the_dropped_rows_are_removed_as_an_edit_removes_them(weighted):
    sample_weight = np.linspace(1, 2, 60) if weighted else None
    fitted = replayed().fit(X, y, sample_weight)
    influence = SAMInfluence(NET, method="grad-dot", validation=ValidationData(X, y))
    influence.fit(X, y, sample_weight)
    edited = influence.remove(~fitted.kept_, how="replay")
    assert torch.equal(weights(fitted.estimator_), weights(edited))
    distance = (weights(fitted.estimator_) - weights(influence.estimator_)).norm()
    assert distance > 1e-4 * weights(edited).norm()
    assert fitted.estimator_.trajectory == "auto"


def test_a_pipeline_is_fitted_on_all_rows():
    rows = pd.DataFrame(X, columns=["a", "b"])
    pipeline = make_pipeline(StandardScaler(), NET)
    fitted = replayed(pipeline).fit(rows, y)
    np.testing.assert_allclose(fitted.estimator_[0].mean_, X.mean(0), rtol=1e-6)
    inside = replayed(NET).fit(StandardScaler().fit_transform(rows), y)
    assert torch.equal(weights(fitted.estimator_[-1]), weights(inside.estimator_))


def test_sparse_rows_may_come_in_any_form():
    """SciPy's notes on a table and the width of its places are not its content."""
    net = SAMClassifier(**NET.get_params() | {"dtype": "float64"})
    rows = csr_array(X.astype("float64"))
    rows.indices, rows.indptr = rows.indices.astype("int64"), rows.indptr.astype("int64")
    scorer = Fixed(X[:, 0])
    fitted = [
        replayed(net, scorer=scorer, memory=None).fit(each, y) for each in (rows, rows.tocsc())
    ]
    assert torch.equal(*(weights(each.estimator_) for each in fitted))


def test_without_dropped_rows_the_end_is_repeated_with_all_of_them():
    """As if a row were given the label that it has, at rates that differ from those recorded."""
    net = SAMClassifier(**NET.get_params() | {"callbacks": [FALLING]})
    fitted = replayed(net, removal_fraction=0).fit(X, y)
    influence = SAMInfluence(net, method="grad-dot", validation=ValidationData(X, y)).fit(X, y)
    same = influence.relabel([0], y[:1])
    assert torch.equal(weights(fitted.estimator_), weights(same))
    assert (weights(same) - weights(influence.estimator_)).norm() > 1e-4
    with torch.no_grad():
        next(fitted.estimator_.module_.parameters()).zero_()
    again = replayed(net, removal_fraction=0).fit(X, y)
    assert torch.equal(weights(again.estimator_), weights(same))


def test_the_same_steps_are_repeated_whichever_rows_are_dropped():
    """A row of the last batch, and still all of the last epoch, as fraction 0 does."""
    net = SAMClassifier(**NET.get_params() | {"max_epochs": 3})
    influence = SAMInfluence(net, method="grad-dot", validation=ValidationData(X, y)).fit(X, y)
    row = influence.estimator_.trajectory_.schedule[-1].indices[:1]
    scorer = Fixed(np.isin(np.arange(60), row, invert=True))
    fitted = replayed(net, scorer=scorer, removal_fraction=1 / 60).fit(X, y)
    assert np.array_equal(np.flatnonzero(~fitted.kept_), row)
    short, epoch = (influence.remove(row, share=share) for share in (0.1, 1 / 3))
    assert torch.equal(weights(fitted.estimator_), weights(epoch))
    assert (short.edit_["share"], epoch.edit_["share"]) == (1 / 9, 1 / 3)


@pytest.mark.slow
def test_kept_rows_that_lose_by_the_rates_warn():
    net = SAMClassifier(
        **NET.get_params() | {"lr": 2.0, "optimizer__momentum": 0, "callbacks": [FALLING]}
    )
    said = r'refit="replay" the loss of the kept rows rises from (\S*) to (\S*). .* mean rate'
    with pytest.warns(AttributionWarning, match=said) as caught:
        fitted = replayed(net).fit(X, y)
    (text,) = [str(w.message) for w in caught if "kept rows" in str(w.message)]
    whole = SAMClassifier(**net.get_params()).fit(X, y)
    kept, found = torch.tensor(X[fitted.kept_]), []
    for each in (whole, fitted.estimator_):
        z = each.module_.eval()(kept).detach()
        found.append(f"{float(cross_entropy(z, torch.tensor(y[fitted.kept_]))):.3g}")
    assert re.search(said, text).groups() == tuple(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AttributionWarning)
        replayed(NET).fit(X, y)


@pytest.mark.slow
def test_a_search_trains_once_in_every_fold(n_trainings):
    grid = {"removal_fraction": [0, 0.05, 0.1, 0.15]}
    search = GridSearchCV(replayed(), grid, cv=2).fit(X, y)
    assert sorted(n_trainings) == [30, 30, 60]
    best = replayed(**search.best_params_, memory=None).fit(X, y)
    assert torch.equal(weights(search.best_estimator_.estimator_), weights(best.estimator_))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"memory": None}, {"random_state": None}, {"estimator__lr": 0.2}]
)
def test_what_is_not_the_same_is_trained_anew(settings, n_trainings):
    replayed().fit(X, y)
    replayed().set_params(**settings).fit(X, y)
    replayed().fit(X, y)
    assert n_trainings == [60, 60]


def test_a_folder_keeps_the_training_for_other_processes(tmp_path, n_trainings):
    first = replayed(memory=tmp_path).fit(X, y)
    _STORE._entries.clear()
    again = replayed(memory=tmp_path, removal_fraction=0.15).fit(X, y)
    assert n_trainings == [60]
    assert not torch.equal(weights(first.estimator_), weights(again.estimator_))


def test_few_states_are_kept():
    replayed(NET).fit(X, y)
    (kept,) = _STORE._entries.values()
    assert len(kept.estimator.trajectory_.states) <= 14
    assert kept.nbytes > 2 * weights(kept.estimator).nbytes * 10


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression(), "estimator must be a SAMClassifier"),
        (NET.__class__(trajectory=None), "the estimator has trajectory=None"),
        (NET.__class__(trajectory_dir="run"), "writes its recorded states to trajectory_dir"),
        (
            FrozenEstimator(SAMClassifier(max_epochs=2).fit(X[:40], y[:40])),
            "recorded on other data.* A search.* an estimator that is not frozen",
        ),
    ],
)
def test_what_cannot_be_replayed_is_named_before_rows_are_scored(estimator, message, n_trainings):
    said = f'refit="replay" cannot .*{message}.* Otherwise pass refit="retrain"'
    with pytest.raises(ValueError, match=said):
        replayed(estimator).fit(X, y)
    assert n_trainings == []


def test_a_frozen_net_that_was_trained_on_these_rows_is_replayed(n_trainings):
    net = SAMClassifier(**NET.get_params()).fit(X, y)
    edited = replayed(FrozenEstimator(net)).fit(X, y).estimator_
    assert n_trainings == [60]
    assert torch.equal(weights(edited), weights(replayed().fit(X, y).estimator_))
