"""Leave-one-out as a function: what SAMInfluence finds, and whole groups besides."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution.comparison import leave_one_out
from sam_attribution.influence import SAMInfluence
from sam_attribution.methods import GIF
from sam_attribution.retraining import LeaveOneOut
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
    with pytest.raises(AttributeError, match=r"as by method=LeaveOneOut\(n_seeds=5\)"):
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


def test_a_method_with_probes_is_refused():
    with pytest.raises(TypeError, match=r"method must retrain, as LeaveOneOut\(\) does, got GIF"):
        leave_one_out(SAMClassifier(), X, y, HELD_OUT, method=GIF())


def test_a_fraction_is_refused():
    with pytest.raises(TypeError, match=r"validation must be ValidationData\(X, y\)"):
        leave_one_out(SAMClassifier(), X, y, 0.2)
