"""Parameter groups that a callback makes when training begins."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from torch import nn

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.methods import GIF, Unrolled
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import SAMClassifier, edited_copy
from tests.models import tabular

X, y, _ = tabular(24)
RATE = {"lr": 0.02}


class Slower(Callback):
    """Gives the last bias a group with a smaller rate."""

    def on_train_begin(self, net, **kwargs):
        bias = net.optimizer_.param_groups[0]["params"].pop()
        net.optimizer_.add_param_group({"params": [bias], **RATE})


class Stranger(Callback):
    """Has a parameter trained that the module does not have."""

    def on_train_begin(self, net, **kwargs):
        net.optimizer_.add_param_group({"params": [nn.Parameter(torch.zeros(2))], **RATE})


def trained(**settings):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    defaults = {"max_epochs": 2, "batch_size": 8, "random_state": 0, "dtype": "float64"}
    adam = {"optimizer": torch.optim.Adam, "lr": 0.05, "trajectory": 2, "rho": 0.1}
    return SAMClassifier(module, **defaults, **adam, **settings).fit(X, y)


def scores(net, method):
    held_out = ValidationData(X[:4], y[:4])
    influence = SAMInfluence(FrozenEstimator(net), method=method, validation=held_out)
    return influence.fit(X, y).scores_


def test_a_group_that_a_callback_made_counts_as_one_that_the_net_was_given():
    moved = trained(callbacks=[Slower()])
    given = trained(optimizer__param_groups=[("2.bias", RATE)])
    *_, last = moved.replay(X, y)
    assert torch.equal(last.params, moved.trajectory_.states[-1].params)
    torch.testing.assert_close(last.params, given.trajectory_.states[-1].params, rtol=1e-12, atol=0)
    method = GIF(rates="effective")
    np.testing.assert_allclose(scores(moved, method), scores(given, method), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("method", [GIF(n_checkpoints=None), Unrolled(check=None)])
def test_so_it_does_for_methods_that_visit_every_step(method):
    moved = scores(trained(callbacks=[Slower()]), method)
    given = scores(trained(optimizer__param_groups=[("2.bias", RATE)]), method)
    np.testing.assert_allclose(moved, given, rtol=1e-8)


def test_a_copy_trains_parameters_of_its_own():
    net = trained(callbacks=[Slower()])
    twin = edited_copy(net, net.trajectory_.states[0].params, {}, "edited")
    groups = zip(net.optimizer_.param_groups, twin.optimizer_.param_groups, strict=True)
    own = {id(p) for p in twin.module_.parameters()}
    for mine, its in groups:
        assert [p.shape for p in mine["params"]] == [p.shape for p in its["params"]]
        assert {id(p) for p in its["params"]} <= own
        assert mine["lr"] == its["lr"]


def test_a_parameter_outside_of_the_module_is_named():
    net = trained(callbacks=[Stranger()])
    with pytest.raises(ValueError, match="group was added to the optimizer with parameters out"):
        problem_from_estimator(net, X, y)
