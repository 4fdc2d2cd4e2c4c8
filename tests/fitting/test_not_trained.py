"""Nets that were initialised and never trained are refused by name, whoever is asked."""

import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution.comparison import compare, further_training, leave_one_out
from sam_attribution.detection import MislabelDetector
from sam_attribution.filtering import FilteredClassifier
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier, SAMRegressor
from sam_attribution.validation_data import ValidationData
from tests.models import tabular

X, y, _ = tabular(30)
held_out = ValidationData(*tabular(15, seed=1)[:2])


def initialized(**settings):
    return SAMClassifier(nn.Linear(X.shape[1], 3), **settings).initialize()


def frozen():
    return FrozenEstimator(initialized(classes=[0, 1, 2]))


DOORS = {
    "gif": lambda: SAMInfluence(frozen(), validation=held_out).fit(X, y),
    "hif-fast": lambda: SAMInfluence(frozen(), method="hif-fast", validation=held_out).fit(X, y),
    "loo": lambda: SAMInfluence(frozen(), method="loo", validation=held_out).fit(X, y),
    "without classes": lambda: SAMInfluence(
        FrozenEstimator(initialized()), validation=held_out
    ).fit(X, y),
    "pipeline": lambda: SAMInfluence(
        make_pipeline(StandardScaler(), frozen()), validation=held_out
    ).fit(X, y),
    "regressor": lambda: SAMInfluence(
        FrozenEstimator(SAMRegressor(nn.Linear(X.shape[1], 1)).initialize()), validation=held_out
    ).fit(X, y.astype("float32")),
    "detector": lambda: MislabelDetector(frozen(), validation=held_out).fit(X, y),
    "filter": lambda: FilteredClassifier(
        scorer=SAMInfluence(frozen(), validation=held_out), removal_fraction=0.1
    ).fit(X, y),
    "compare": lambda: compare(["hif"], frozen(), X, y, validation=held_out),
    "leave_one_out": lambda: leave_one_out(frozen(), X, y, held_out),
    "further_training": lambda: further_training(initialized(), X, y, X[:3], y[:3]),
    "replay": lambda: initialized(classes=[0, 1, 2]).replay(X, y),
}


@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
def test_a_net_that_was_not_trained_is_refused_by_name(ask):
    with pytest.raises(NotFittedError, match=r"was initialized but not trained.* Call fit"):
        ask()
