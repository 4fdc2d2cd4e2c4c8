"""What a method cannot do with an optimizer or a module is said before training, as after it."""

import dataclasses

import pytest
import torch
from torch import nn

from sam_attribution.methods import GIF, IntegratedUnrolled, Unrolled
from sam_attribution.problem import problem_from_estimator
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from sam_attribution.training import SAMClassifier
from tests.models import tabular
from tests.training.test_foreign_optimizers import SignDescent

X, y, _ = tabular(12)
RETRAINING = [
    Unrolled(check=None),
    IntegratedUnrolled(n_groups=2),
    LeaveOneOut(rows=[1], real_loop=False),
    FurtherTraining(n_epochs=1, n_seeds=1, rows=[1], real_loop=False),
]
UNKNOWN = {
    "amsgrad": {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True},
    "rmsprop": {"optimizer": torch.optim.RMSprop},
    "foreign": {"optimizer": SignDescent},
    "groups": {
        "optimizer": torch.optim.Adam,
        "optimizer__param_groups": [("bias", {"betas": (0.5, 0.9)})],
    },
}
KNOWN = {
    "sgd": {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    "adamw": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
}


def trained(**settings):
    defaults = {"lr": 0.01, "max_epochs": 1, "random_state": 0, "dtype": "float64"}
    net = SAMClassifier(nn.Linear(6, 3), **defaults | settings).fit(X, y)
    return problem_from_estimator(net, X, y), net.optimizer_


def at_the_door(problem):
    return dataclasses.replace(problem, path=None)


def same_refusal(method, problem, optimizer):
    texts = []
    for call in (lambda: method.check_model(at_the_door(problem), optimizer),
                 lambda: method.prepare(problem)):  # fmt: skip
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call()
        name, _, text = str(error.value).partition(" needs ")  # the door names the method
        assert not text or name in (type(method).__name__, "this method")
        texts.append(text or str(error.value))
    assert texts[0] == texts[1]
    return texts[0]


@pytest.mark.parametrize("settings", UNKNOWN)
@pytest.mark.parametrize("method", RETRAINING, ids=lambda method: type(method).__name__)
def test_optimizers_without_a_functional_form(method, settings):
    problem, optimizer = trained(**UNKNOWN[settings])
    same_refusal(method, problem, optimizer)


@pytest.mark.parametrize("settings", KNOWN)
@pytest.mark.parametrize("method", [*RETRAINING, GIF(rates="effective")])
def test_the_others_pass(method, settings):
    problem, optimizer = trained(**KNOWN[settings])
    method.check_model(at_the_door(problem), optimizer)
    method.prepare(problem)


def test_effective_rates_fixed_points_and_parts():
    foreign = trained(**UNKNOWN["foreign"])
    assert "not for SignDescent" in same_refusal(GIF(rates="effective"), *foreign)
    GIF().check_model(at_the_door(foreign[0]), foreign[1])
    assert "not part of the loss" in same_refusal(FixedPoint(), *trained(**KNOWN["adamw"]))
    decoupled = {"optimizer__weight_decay": 0.1, "optimizer__decoupled_weight_decay": True}
    nadam = trained(optimizer=torch.optim.NAdam, **decoupled)
    assert "NAdam's decoupled" in same_refusal(FixedPoint(), *nadam)
    assert "below the rounding" in same_refusal(FixedPoint(tol=1e-20), *trained())
    problem, optimizer = trained()
    head = dataclasses.replace(problem, selected=torch.arange(3))
    for method in [*RETRAINING, FixedPoint()]:
        assert "parameters" in same_refusal(method, head, optimizer)


class Counting(nn.Linear):
    def __init__(self):
        super().__init__(6, 3)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, inputs):
        if self.training:
            self.seen += 1
        return super().forward(inputs)


def test_buffers_that_models_cannot_share():
    net = SAMClassifier(Counting(), max_epochs=1, random_state=0).fit(X, y)
    problem = problem_from_estimator(net, X, y)
    assert "buffer 'seen'" in same_refusal(RETRAINING[-1], problem, net.optimizer_)
