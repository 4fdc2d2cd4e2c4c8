"""SAMRegressor: what it does with targets. What it shares with SAMClassifier: test_contract.py."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset, ValidSplit
from torch import nn

from sam_attribution.training import MLP, SAMRegressor
from tests.models import targets

X, y, weight = targets(48)
CRITERIA = {
    "squared": (nn.MSELoss(), lambda f, y: (f - y) ** 2),
    "absolute": (nn.L1Loss(), lambda f, y: (f - y).abs()),
    "huber": (
        nn.HuberLoss(delta=0.5),
        lambda f, y: torch.where(
            (f - y).abs() < 0.5, 0.5 * (f - y) ** 2, 0.5 * ((f - y).abs() - 0.25)
        ),
    ),
}


def net(*args, **params):
    defaults = {"max_epochs": 3, "batch_size": 10, "random_state": 0, "dtype": "float64"}
    return SAMRegressor(*args, **defaults | params)


def weights_of(reg):
    return nn.utils.parameters_to_vector(reg.module_.parameters()).detach()


@pytest.mark.slow
@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("sample_weight", [None, weight])
def test_training_equals_a_loop_by_hand(name, sample_weight):
    criterion, loss = CRITERIA[name]
    module = MLP(6, 1).double()
    reg = net(module, criterion=criterion, rho=0.2, lr=0.05).fit(X, y, sample_weight=sample_weight)
    params, a = list(module.parameters()), np.ones(48) if sample_weight is None else weight
    for step in reg.trajectory_.schedule:
        rows, targets_, own = (torch.tensor(part[step.indices]) for part in (X, y, a))

        def gradient(rows=rows, targets_=targets_, own=own):
            mean = (own * loss(module(rows)[:, 0], targets_)).sum() / own.sum()
            return nn.utils.parameters_to_vector(torch.autograd.grad(mean, params))

        w = nn.utils.parameters_to_vector(params).detach().clone()
        g = gradient()
        nn.utils.vector_to_parameters(w + 0.2 * g / g.norm(), params)
        nn.utils.vector_to_parameters(w - 0.05 * gradient(), params)
    expected = nn.utils.parameters_to_vector(params).detach()
    torch.testing.assert_close(weights_of(reg), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_defaults_predict_diabetes():
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), scale(y)
    reg = SAMRegressor(random_state=0).fit(X[:342], y[:342])
    assert reg.predict(X).shape == (442,)
    assert reg.predict(X).dtype == np.float32
    assert reg.score(X[342:], y[342:]) > 0.45
    with torch.no_grad():
        expected = reg.module_(torch.tensor(X, dtype=torch.float32))[:, 0]
    np.testing.assert_array_equal(reg.predict(X), expected)


TARGETS = {
    "list": y.tolist(),
    "float32": y.astype("float32").astype("float64"),
    "series": pd.Series(y),
    "tensor": torch.tensor(y),
    "column": y[:, None],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A column-vector y")
@pytest.mark.parametrize("kind", TARGETS)
def test_the_container_of_targets_does_not_matter(kind):
    expected = net().fit(X, np.asarray(TARGETS[kind]).ravel())
    found = net().fit(csr_array(X) if kind == "list" else X, TARGETS[kind])
    assert torch.equal(weights_of(found), weights_of(expected))
    assert found.to_tensors(X, TARGETS[kind])[1].tolist() == np.ravel(TARGETS[kind]).tolist()


def test_a_dataset_of_columns_is_no_other_loss():
    """torch would broadcast (n,) against (n, 1) to (n, n)."""
    module = MLP(6, 1).double()
    expected = net(module).fit(X, y)
    for column in (y, y[:, None]):
        found = net(module).fit(Dataset(X, column), None)
        torch.testing.assert_close(weights_of(found), weights_of(expected))
    with pytest.raises(ValueError, match=r"y must hold one number per row.*\(48, 2\)"):
        net(MLP(6, 1)).fit(Dataset(X, np.c_[y, y]), None)


@pytest.mark.slow
def test_replay_pickle_and_going_on_are_bit_for_bit():
    reg = net(optimizer__momentum=0.9, trajectory="all").fit(X, y, sample_weight=weight)
    again = pickle.loads(pickle.dumps(reg))
    np.testing.assert_array_equal(reg.predict(X), again.predict(X))
    few = net(optimizer__momentum=0.9, trajectory=1).fit(X, y, sample_weight=weight)
    replayed = few.replay(X, y, sample_weight=weight)
    for state, other in zip(reg.trajectory_.states, replayed, strict=True):
        assert torch.equal(state.params, other.params)
    with pytest.raises(ValueError, match="recorded on other data: y differ"):
        list(few.replay(X, y + 1e-9, sample_weight=weight))
    whole = net(optimizer__momentum=0.9, max_epochs=6).fit(X, y)
    halves = net(optimizer__momentum=0.9).partial_fit(X, y).partial_fit(X, y)
    assert torch.equal(weights_of(halves), weights_of(whole))
    assert not hasattr(clone(reg), "module_")


class Death(BaseException):
    pass


def dying(notify):
    """At the end of the fourth epoch, before anything is written."""

    def notify_or_die(net, name, **kwargs):
        if name == "on_epoch_end" and len(net.history) == 4:
            raise Death
        notify(net, name, **kwargs)

    return notify_or_die


def test_a_stored_run_goes_on(tmp_path):
    whole = net(max_epochs=6, optimizer__momentum=0.9).fit(X, y)
    run = net(max_epochs=6, optimizer__momentum=0.9, trajectory_dir=tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SAMRegressor, "notify", dying(SAMRegressor.notify))
        with pytest.raises(Death):
            run.fit(X, y)
    resumed = SAMRegressor.resume(tmp_path / "run", X, y)
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.trajectory_.n_steps == whole.trajectory_.n_steps == 30
    with pytest.raises(ValueError, match="was recorded on other data: y differ"):
        SAMRegressor.resume(tmp_path / "run", X, y + 1)


@pytest.mark.slow
def test_scoring_while_training_and_a_search():
    callbacks = [EpochScoring("r2", name="r2", lower_is_better=False)]
    split = ValidSplit(0.25, random_state=0)
    reg = net(train_split=split, callbacks=callbacks, max_epochs=30).fit(X, y)
    assert reg.history[-1, "r2"] > 0.3
    assert "valid_acc" not in reg.history[-1]
    search = GridSearchCV(net(), {"rho": [0.0, 0.1], "module__n_hidden": [3]}, cv=2).fit(X, y)
    assert search.best_estimator_.module_[1].out_features == 3


class Wide(nn.Linear):
    def __init__(self, n_outputs=1, n_features=6):
        super().__init__(n_features, n_outputs)


class Flat(nn.Linear):
    def forward(self, rows):
        return super().forward(rows)[:, 0]


def test_modules_of_ones_own():
    assert net(Wide).fit(X, y).module_.out_features == 1
    images = X.reshape(48, 1, 2, 3)
    flattened = net().fit(X, y).predict(X)
    np.testing.assert_allclose(net().fit(images, y).predict(images), flattened)
    with pytest.raises(ValueError, match=r"one number per row, shape \(n_samples, 1\).*\(10, 2\)"):
        net(nn.Linear(6, 2)).fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(n_samples, 1\), got shape \(10,\)"):
        net(Flat(6, 1)).fit(X, y)


def test_there_are_no_probabilities():
    reg = net().fit(X, y)
    assert not hasattr(reg, "predict_proba")
    assert not hasattr(reg, "classes_")
    with pytest.raises(AttributeError) as error:
        reg.predict_proba(X)
    assert "Call predict" in str(error.value.__cause__)
