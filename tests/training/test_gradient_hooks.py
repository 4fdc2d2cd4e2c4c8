"""Hooks on parameters, which copies of a module lose."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.training import ConformantNet

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
y = np.arange(12) % 3


def scaling(gradient):
    return 0.5 * gradient


def clipping(gradient):
    return gradient.clamp(-1, 1)


def in_place(gradient):
    gradient[0] = 0


class Watching:
    """A hook that notes the gradients it sees, and may return them as they are."""

    def __init__(self, returns):
        self.seen, self._returns = [], returns

    def __call__(self, gradient):
        self.seen.append(gradient)
        return gradient if self._returns else None


def hooked(hook, register="register_hook"):
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    getattr(module.weight, register)(hook)
    return module


class Hooking(Callback):
    def on_train_begin(self, net, **kwargs):
        net.module_.weight.register_hook(scaling)


NAMED = r"module has a hook on its parameter 'weight'.*on_grad_computed"


@pytest.mark.parametrize("hook", [scaling, clipping, in_place])
def test_a_hook_that_changes_gradients_is_named(hook):
    assert copy.deepcopy(hooked(hook)).weight._backward_hooks is None  # what it is about
    for cls in (SAMClassifier, ConformantNet):
        for module in (hooked(hook), lambda: hooked(hook)):
            with pytest.raises(ValueError, match=NAMED):
                cls(module).fit(X, y)
    with pytest.raises(ValueError, match=NAMED):
        SAMClassifier.from_module(hooked(hook), X, y)
    with pytest.raises(ValueError, match=NAMED):
        SAMInfluence(SAMClassifier(hooked(hook)), validation=ValidationData(X, y)).fit(X, y)


def test_a_hook_on_the_finished_gradient_and_one_of_a_callback_are_named():
    with pytest.raises(ValueError, match=NAMED):
        SAMClassifier(hooked(lambda p: None, "register_post_accumulate_grad_hook")).fit(X, y)
    with pytest.raises(ValueError, match=NAMED):
        SAMClassifier(nn.Linear(4, 3), callbacks=[Hooking()]).fit(X, y)


@pytest.mark.parametrize("returns", [False, True])
def test_a_hook_that_only_watches_is_no_matter(returns):
    watching, stream = Watching(returns), torch.get_rng_state()
    nets = [
        SAMClassifier(lambda hook=hook: hooked(hook), max_epochs=1, random_state=0).fit(X, y)
        for hook in (watching, Watching(False))
    ]
    assert torch.equal(*(net.module_.weight for net in nets))
    assert len(watching.seen) > 1
    assert torch.equal(torch.get_rng_state(), stream)
