"""The closed form of the last linear layer, where it holds, and where it does not."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence
from sam_attribution.problem import problem_from_estimator
from tests.models import given_gradients, tabular

X, Y, WEIGHT = tabular()


class Tied(nn.Module):
    """The head's weight acts on the features, too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = nn.Linear(6, 3), nn.Linear(3, 3, bias=False)

    def forward(self, X):
        return self.head(torch.tanh(torch.tanh(self.encoder(X)) @ self.head.weight))


class TiedByName(nn.Module):
    """The weight of one layer is that of another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh())
        self.head = nn.Linear(3, 3)
        self.head.weight = self.body[2].weight

    def forward(self, X):
        return self.head(self.body(X))


class CalledByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Linear(6, 4), nn.Tanh()), nn.Linear(4, 3)

    def forward(self, X):
        return self.head(input=self.body(X))


class Squashing(nn.Linear):
    """A head that multiplies something else than what it is given."""

    def forward(self, X):
        return super().forward(torch.tanh(X))


class Autocast(nn.Module):
    """Its features are in bfloat16, its weights in float32."""

    def __init__(self):
        super().__init__()
        self.layers = mlp()

    def forward(self, X):
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(X).float()


class Masked(nn.Linear):
    def forward(self, X):
        return super().forward(X).masked_fill(torch.tensor([False, False, True]), -torch.inf)


def normed(norm):
    return lambda: mlp(norm(nn.Linear(4, 3)))


def mlp(head=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), head or nn.Linear(4, 3))


def frozen(*names):
    module = mlp()
    for name in names:
        module.get_parameter(name).requires_grad_(False)
    return module


def net(module):
    settings = {"max_epochs": 2, "batch_size": 8, "random_state": 0, "dtype": "float64"}
    return SAMClassifier(module, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        mlp(),
        frozen("2.bias"),
        frozen("2.weight"),
        frozen("0.weight", "0.bias"),
        frozen("0.bias", "2.bias"),
        mlp(nn.Linear(4, 3, bias=False)),
        CalledByKeyword(),
    ],
    ids=["plain", "bias", "weight", "body", "biases", "without bias", "keyword"],
)
def test_the_closed_form_is_the_gradient_also_where_parts_are_frozen(module):
    fitted = net(module).fit(X, Y)
    problem = problem_from_estimator(fitted, X, Y, parameters="head")
    expected = given_gradients(problem, problem.params, problem.buffers)
    named = problem.layout.unflatten(problem.params)
    logits, features = problem.head.features(named, problem.buffers, problem.X)
    in_logits = logits.softmax(1) - nn.functional.one_hot(problem.y)
    found = problem.head.row_gradients(features, in_logits)
    torch.testing.assert_close(found, problem.restrict(expected.T).T)
    torch.testing.assert_close(problem.head.gradient(features, in_logits), found.sum(0))
    columns = problem.restrict(torch.randn(problem.layout.size, 2, dtype=torch.float64))
    tangents = problem.head.tangents(features, columns)
    torch.testing.assert_close((in_logits[:, :, None] * tangents).sum(1), found @ columns)


def test_scores_of_a_head_with_a_frozen_bias_equal_those_of_its_weight():
    scores = [
        SAMInfluence(net(frozen("2.bias")), parameters=parameters, random_state=0).fit(X, Y).scores_
        for parameters in ("head", ["2.*"])
    ]
    np.testing.assert_allclose(*scores, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Tied(), "used once, but 'head.weight' of Tied is used in another place"),
        (TiedByName(), "used once, but 'body.2.weight' of TiedByName"),
        (mlp(Squashing(4, 3)), "logits that are the output of the last nn.Linear"),
        (frozen("2.weight", "2.bias"), "ends in a trainable nn.Linear"),
        (normed(parametrizations.weight_norm), "parameters and not computed"),
        (normed(parametrizations.orthogonal), "parameters and not computed"),
        (normed(nn.utils.weight_norm), "parameters and not computed"),
        (Autocast, "one dtype, but Autocast has them in bfloat16, float32 and float32"),
        (
            lambda: nn.Sequential(mlp(), Masked(3, 3)),
            "logits that are the output of the last nn.Linear",
        ),
    ],
)
def test_a_head_without_the_closed_form_is_named_before_training(module, message):
    class Untrained(SAMClassifier):
        def fit_loop(self, *args, **kwargs):
            raise AssertionError("trained")

    estimator = Untrained(module, max_epochs=1)
    with pytest.raises(ValueError, match=f'parameters="head" needs .*{message}'):
        SAMInfluence(estimator, parameters="head", random_state=0).fit(X, Y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "module",
    [
        Tied(),
        TiedByName(),
        frozen("2.bias"),
        frozen("2.weight", "2.bias"),
        normed(parametrizations.weight_norm),
        normed(parametrizations.orthogonal),
        normed(nn.utils.weight_norm),
    ],
)
def test_the_detector_reads_the_features_of_any_head(module):
    fitted = net(module).fit(X, Y)
    problem = problem_from_estimator(fitted, X, Y)
    caught = []
    head = [part for part in fitted.module_.modules() if isinstance(part, nn.Linear)][-1]
    head.register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
    fitted.module_(problem.X)
    features = problem.features(problem.params, problem.buffers, problem.X)
    torch.testing.assert_close(features, caught[0])
    assert np.isfinite(MislabelDetector(net(module), random_state=0).fit(X, Y).contamination_)


def test_the_detector_reads_features_that_autocast_rounds():
    fitted = net(Autocast).set_params(dtype="float32").fit(X, Y)
    problem = problem_from_estimator(fitted, X, Y)
    features = problem.features(problem.params, problem.buffers, problem.X)
    exact = fitted.module_.layers[:2](problem.X).detach()
    torch.testing.assert_close(features, exact, rtol=0.02, atol=0.02)
