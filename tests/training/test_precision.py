"""A module that was cast after training is named, wherever it is used."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier
from sam_attribution.problem import problem_from_estimator
from tests.models import fitted, tabular

X, y, _ = tabular()
USES = {
    "predict": lambda net: net.predict(X),
    "partial_fit": lambda net: net.partial_fit(X, y),
    "attribution": lambda net: problem_from_estimator(net, X, y),
    "replay": lambda net: list(net.replay(X, y)),
}


@pytest.fixture(scope="module", params=["classification", "regression"])
def trained(request):
    net, *_ = fitted(request.param, max_epochs=1, dtype="float32")
    return net


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("cast", ["half", "double", "bfloat16"])
def test_a_cast_module_is_named(trained, use, cast):
    net = copy.deepcopy(trained)
    getattr(net.module_, cast)()
    found = str(next(net.module_.parameters()).dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=rf"module_ .* in {found}, but dtype='float32'.*Cast it b"):
        USES[use](net)
    assert net.trajectory_.broken is None


@pytest.mark.parametrize("use", USES)
def test_so_are_one_layer_and_a_dtype_that_was_set(trained, use):
    net = copy.deepcopy(trained)
    net.module_[-1].double()
    with pytest.raises(ValueError, match=r"module_ has its parameter '3\.weight' in float64"):
        USES[use](net)
    net = copy.deepcopy(trained).set_params(dtype="float64")
    with pytest.raises(ValueError, match=r"in float32, but dtype='float64'.*or dtype was set"):
        USES[use](net)


def test_a_module_that_is_cast_back_counts_again(trained):
    net = copy.deepcopy(trained)
    net.module_.double().to(torch.float32)
    np.testing.assert_array_equal(net.predict(X), trained.predict(X))


def test_what_runs_in_another_precision_predicts():
    layers = nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3)
    tokens = np.random.default_rng(0).integers(0, 9, (40, 2))
    net = SAMClassifier(nn.Sequential(*layers), random_state=0, max_epochs=1).fit(tokens, y)
    before = net.predict_proba(tokens)
    net.module_.double()
    np.testing.assert_allclose(net.predict_proba(tokens), before, rtol=1e-5)
    with pytest.raises(ValueError, match=r"module_ .* in float64"):
        problem_from_estimator(net, tokens, y)
