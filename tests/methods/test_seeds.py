"""Methods that draw take the seed of SAMInfluence, unless they have one of their own."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.comparison import further_training
from sam_attribution.linalg import LiSSA
from sam_attribution.methods import (
    EKFAC,
    TRAK,
    InfluenceFunction,
    IntegratedUnrolled,
    Projected,
    RelatIF,
)
from sam_attribution.retraining import FurtherTraining
from tests.models import tabular

X, y, _ = tabular(30)
X_query, y_query, _ = tabular(6, seed=1)
HELD_OUT = ValidationData(X_query, y_query)
# above 1000 parameters, where a solver meets the rows and not a dense matrix
WIDE = torch.nn.Sequential(torch.nn.Linear(6, 150), torch.nn.Tanh(), torch.nn.Linear(150, 3))
LISSA = LiSSA(n_terms=20, batch_size=5, tol=10.0)
DRAWING = {
    "ekfac": EKFAC(n_draws=1),
    "further-training": FurtherTraining(n_epochs=1, n_seeds=1, rows=[2, 11]),
    "integrated-unrolled": IntegratedUnrolled(n_groups=3),
    "lissa": InfluenceFunction(solver=LISSA, curvature="ggn", damping=0.5),
    "relatif": RelatIF(EKFAC(n_draws=1)),
    "trak": TRAK(proj_dim=8),
}
SEED_OF = {"lissa": "solver__random_state", "relatif": "influence__random_state"}


def fitted(method, random_state=0, **settings):
    classifier = SAMClassifier(WIDE, max_epochs=2, batch_size=10, dtype="float64", random_state=0)
    settings = {"validation": HELD_OUT, **settings}
    influence = SAMInfluence(classifier, method=method, random_state=random_state, **settings)
    return influence.fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWING)
def test_the_outer_seed_is_taken(name):
    method = DRAWING[name]
    first, second, other = (fitted(method, seed).scores_ for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other, rtol=1e-6, equal_nan=True)
    assert method.get_params()[SEED_OF.get(name, "random_state")] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWING)
def test_a_seed_of_its_own_is_kept(name):
    key = SEED_OF.get(name, "random_state")
    method = clone(DRAWING[name]).set_params(**{key: 3})
    first, other = (fitted(method, seed).scores_ for seed in (0, 1))
    np.testing.assert_array_equal(first, other)
    method.set_params(**{key: 4})
    assert not np.allclose(first, fitted(method).scores_, rtol=1e-6, equal_nan=True)


def test_without_any_seed_every_fit_draws_anew():
    first, other = (fitted(TRAK(proj_dim=8), None).scores_ for _ in range(2))
    assert not np.allclose(first, other, rtol=1e-6)


def test_a_generator_is_drawn_from_anew_in_every_split_and_not_moved():
    """As it is where splits are worked on in processes of their own."""
    folds = StratifiedKFold(2)
    method = TRAK(proj_dim=8, random_state=np.random.RandomState(5))
    state = method.random_state.get_state()[1].copy()
    found = fitted(method, validation=folds)
    drawn = TRAK(proj_dim=8, random_state=np.random.RandomState(5).randint(2**31 - 1))
    np.testing.assert_array_equal(found.scores_, fitted(drawn, validation=folds).scores_)
    np.testing.assert_array_equal(method.random_state.get_state()[1], state)


def test_projected_rows_take_the_seed_of_the_influence():
    how = Projected(16)
    first, second, other = (
        fitted("grad-dot", seed).attribute(X_query, y_query, how=how) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other, rtol=1e-6)
    assert how.random_state is None


def test_further_training_as_a_function_takes_a_seed():
    clf = SAMClassifier(max_epochs=2, batch_size=10, dtype="float64", random_state=0).fit(X, y)
    method = FurtherTraining(n_epochs=1, n_seeds=1, rows=[2, 11])

    def values(seed):
        data = X, y, X_query, y_query
        return further_training(clf, *data, method=method, random_state=seed).values

    np.testing.assert_array_equal(values(0), values(0))
    assert not np.allclose(values(0), values(1), rtol=1e-6)
    assert method.random_state is None
