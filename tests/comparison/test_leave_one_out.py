"""Leave-one-out as a function: what SAMInfluence finds, and whole groups besides."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution.comparison import leave_one_out
from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from sam_attribution.retraining._finished import FinishedModels
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import tabular
from tests.retraining.by_hand import retrained

X, y, weight = tabular(30)
HELD_OUT = ValidationData(*tabular(12, seed=1)[:2])
SETTINGS = {"max_epochs": 2, "dtype": "float64", "batch_size": 10}


def test_scores_are_those_of_saminfluence():
    pipeline = make_pipeline(StandardScaler(), SAMClassifier(**SETTINGS))
    found = leave_one_out(pipeline, X, y, HELD_OUT, sample_weight=weight, random_state=0)
    expected = SAMInfluence(pipeline, method="loo", validation=HELD_OUT, random_state=0)
    expected.fit(X, y, sample_weight=weight)
    assert np.array_equal(found.scores, expected.scores_)
    assert np.array_equal(found.group_effects[0], expected.scores_)
    assert found.standard_errors is None
    with pytest.raises(AttributeError, match=r"as in method=LeaveOneOut\(n_seeds=5\)"):
        expected.standard_errors_  # noqa: B018
    assert found.estimator.predict(X).shape == (30,)


def test_seeds_give_standard_errors():
    method = LeaveOneOut(groups=y, n_seeds=3)
    clf = SAMClassifier(**SETTINGS, random_state=0)
    found = leave_one_out(clf, X, y, HELD_OUT, method=method, evaluation="margin")
    sizes = np.bincount(y)
    np.testing.assert_allclose(found.scores, (found.group_effects.mean(0) / sizes)[y])
    errors = found.group_effects.std(0, ddof=1) / sizes / 3**0.5
    np.testing.assert_allclose(found.standard_errors, errors[y])
    assert errors.min() > 0


def test_a_regressor():
    target = X @ np.arange(6.0)
    held_out = ValidationData(HELD_OUT.X, HELD_OUT.X @ np.arange(6.0))
    regressor = SAMRegressor(**SETTINGS, lr=0.001, random_state=0)
    found = leave_one_out(regressor, X, target, held_out, method=LeaveOneOut(rows=[3]))
    fitted = regressor.fit(X, target)
    X_val, y_val = torch.tensor(held_out.X), torch.tensor(held_out.y)
    errors = []
    for absent in ([], [3]):
        s = torch.ones(30, dtype=torch.float64)
        s[absent] = 0
        module = retrained(fitted, X, target, None, s, squared_error)
        errors.append(float(squared_error(module(X_val), y_val).mean().detach()))
    assert found.scores[3] == pytest.approx(errors[1] - errors[0], rel=1e-6)
    assert abs(found.scores[3]) > 1e-6


def squared_error(output, y):
    return (output[:, 0] - y) ** 2


@pytest.mark.parametrize("method", [GIF(), FurtherTraining(), "loo"])
def test_other_methods_are_refused_before_any_training(method, monkeypatch):
    monkeypatch.setattr(SAMInfluence, "fit", None)
    with pytest.raises(TypeError, match=r"method must be a LeaveOneOut\(\) or FixedPoint\(\), got"):
        leave_one_out(SAMClassifier(), X, y, HELD_OUT, method=method)


def test_fixed_points():
    clf = SAMClassifier(
        torch.nn.Linear(6, 3), random_state=0, optimizer__weight_decay=0.1, **SETTINGS
    )
    found = leave_one_out(clf, X, y, HELD_OUT, method=FixedPoint(rows=[8, 3]))
    expected = SAMInfluence(clf, method=FixedPoint(rows=[3, 8]), validation=HELD_OUT).fit(X, y)
    np.testing.assert_allclose(found.scores, expected.scores_, rtol=1e-6)
    np.testing.assert_allclose(found.group_effects, [expected.scores_[[8, 3]]], rtol=1e-6)


def test_a_fraction_is_refused():
    with pytest.raises(TypeError, match=r"validation must be ValidationData\(X, y\)"):
        leave_one_out(SAMClassifier(), X, y, 0.2)


def test_after_an_interruption_the_same_call_goes_on(tmp_path, monkeypatch):
    method = LeaveOneOut(rows=[1, 4, 9], models_at_once=1)
    clf = SAMClassifier(**SETTINGS)
    call = partial(leave_one_out, clf, X, y, HELD_OUT, method=method, random_state=0)
    expected = call().scores
    trained = []

    def put(models, keys, *stack):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.extend(keys)
        keep(models, keys, *stack)

    keep = FinishedModels.put
    monkeypatch.setattr(FinishedModels, "put", put)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        call(resume_dir=tmp_path)
    assert "keeps 2 of 4 models" in interrupted.value.__notes__[0]
    first, trained[:] = [*trained], ()
    found = call(resume_dir=tmp_path)
    assert len(first) == len(trained) == 2
    assert not set(first) & set(trained)
    assert np.array_equal(found.scores, expected, equal_nan=True)
    assert method.resume_dir is None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (FixedPoint(resume_dir="here"), "name two folders. Pass one"),
        (LeaveOneOut(resume_dir="there"), "name two folders. Pass one"),
    ],
)
def test_a_folder_that_would_not_be_used_is_refused(tmp_path, method, message):
    with pytest.raises(ValueError, match=message):
        leave_one_out(SAMClassifier(), X, y, HELD_OUT, method=method, resume_dir=tmp_path)
    assert not list(tmp_path.iterdir())
