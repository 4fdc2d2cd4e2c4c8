"""A module under ``torch.compile`` is attributed as the module itself is."""

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.methods import Unrolled
from tests.models import tabular

X, y, _ = tabular(24)
X_val, y_val, _ = tabular(10, seed=1)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def influence(module, **settings):
    net = SAMClassifier(module, max_epochs=1, batch_size=24, random_state=0, **settings)
    net.set_params(dtype="float64", trajectory="all")
    method = Unrolled(check=None)
    found = SAMInfluence(net, method=method, validation=ValidationData(X_val, y_val))
    return found.fit(X, y)


@pytest.mark.slow
def test_unrolled_of_a_compiled_module(module):
    # aot_eager is the compiler without the code that it would generate
    compiled = influence(module, compile=True, compile__backend="aot_eager")
    plain = influence(module)
    np.testing.assert_allclose(compiled.scores_, plain.scores_, rtol=1e-9, atol=1e-13)
    assert np.abs(plain.scores_).min() > 1e-8
    names = compiled.estimator_.trajectory_.names
    assert names == plain.estimator_.trajectory_.names
