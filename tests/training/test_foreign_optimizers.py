"""Optimizers that are not of torch.optim: recorded, replayed and resumed as these are."""

import pytest
import torch
from torch import nn

from sam_attribution.training import SAMClassifier
from tests.training.test_resume import Death, dies_at
from tests.training.test_trajectory import X, same, y


class SignDescent(torch.optim.Optimizer):
    """Steps along the sign of the gradient, shorter every time; it declares `lr` alone."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["n"] = state.get("n", 0) + 1
                parameter.sub_(parameter.grad.sign(), alpha=group["lr"] / state["n"])
        return loss


class Lookahead(SignDescent):
    """Holds another optimizer in an attribute, as wrappers do."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        self.optimizer = torch.optim.SGD(self.param_groups[0]["params"], lr=lr)


def module():
    torch.manual_seed(0)
    return nn.Linear(6, 2)


def net(optimizer=SignDescent, **settings):
    defaults = {"max_epochs": 3, "batch_size": 24, "random_state": 0, "lr": 0.01}
    return SAMClassifier(module(), optimizer=optimizer, **defaults | settings)


@pytest.mark.parametrize("optimizer", [SignDescent, Lookahead])
def test_replay_and_partial_fit(optimizer):
    whole = net(optimizer, trajectory="all").fit(X, y)
    first = net(optimizer, trajectory=1).fit(X, y)
    for state, twin in zip(first.replay(X, y), whole.trajectory_.states, strict=True):
        assert same(state, twin)
    parts = net(optimizer, max_epochs=1).fit(X, y).partial_fit(X, y).partial_fit(X, y)
    assert parts.trajectory_.n_steps == 6
    assert all(torch.isfinite(state.params).all() for state in parts.replay(X, y))


def test_resume(tmp_path, monkeypatch):
    lived = net().fit(X, y)
    with monkeypatch.context() as patch:
        dies_at(8, patch)
        with pytest.raises(Death):
            net(trajectory_dir=tmp_path).fit(X, y)
    resumed = SAMClassifier.resume(tmp_path, X, y, module=module(), optimizer=SignDescent)
    assert resumed.trajectory_.n_steps == lived.trajectory_.n_steps
    assert torch.equal(resumed.module_.weight, lived.module_.weight)
    settings = [[step.settings for step in each.trajectory_.schedule] for each in (resumed, lived)]
    assert settings[0] == settings[1]
