"""Results do not depend on the modes that the caller has set in torch, and leave them set."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale
from torch import nn

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence, SAMRegressor
from sam_attribution.methods import Projected, Unrolled

X, y = load_iris(return_X_y=True)
X, y = scale(X)[::2].astype("float32"), y[::2]


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 3)
        )


def classifier(module=None, **settings):
    options = {"max_epochs": 2, "batch_size": 25, "random_state": 0, **settings}
    return SAMClassifier(module, **options)


def weights_of(net):
    return nn.utils.parameters_to_vector(net.module_.parameters())


def influence(method, module=Normed):
    return SAMInfluence(classifier(module), method=method, random_state=0).fit(X, y)


def replayed(net):
    return torch.stack([state.params for state in net.fit(X, y).replay(X, y)])


def asked():
    found = influence("gif", None)
    answers = found.attribute(X[:2], y[:2]), found.self_influence(), found.transform(X[:2])
    return np.concatenate([each.ravel() for each in answers])


QUESTIONS = {
    "default module": lambda: weights_of(classifier().fit(X, y)),
    "own module": lambda: weights_of(classifier(Normed).fit(X, y)),
    "double": lambda: weights_of(classifier(Normed, dtype="float64").fit(X, y)),
    "tensor": lambda: classifier().fit(torch.from_numpy(X), y).predict_proba(torch.from_numpy(X)),
    "regressor": lambda: SAMRegressor(max_epochs=2, random_state=0).fit(X, X[:, 0]).predict(X),
    "replay": lambda: replayed(classifier(Normed)),
    "detector": lambda: MislabelDetector(classifier(), random_state=0).fit(X, y).scores_,
    "unrolled": lambda: influence(Unrolled(check=None)).scores_,
    "hif": lambda: influence("hif-fast").scores_,
    "ekfac": lambda: influence("ekfac").scores_,
    "trak": lambda: influence("trak").scores_,
    "queries": asked,
    "projected": lambda: influence("gif").attribute(X[:2], y[:2], how=Projected(random_state=0)),
    "diagnosis": lambda: influence("hif-fast").diagnose(smoothness="starts")["value"],
}


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
        assert torch.get_default_device() == torch.device(device)
    finally:
        torch.set_default_device(None)


@contextmanager
def no_gradients(mode):
    with mode():
        yield
        assert not torch.is_grad_enabled()


@contextmanager
def elsewhere():
    with default_dtype(torch.float64), default_device("meta"):
        yield


MODES = {
    "float64 on meta": elsewhere,
    "no_grad": lambda: no_gradients(torch.no_grad),
    "inference": lambda: no_gradients(torch.inference_mode),
}


def as_array(found):
    return found.detach().cpu().numpy() if torch.is_tensor(found) else np.asarray(found)


@pytest.fixture(scope="module")
def expected():
    return {name: as_array(question()) for name, question in QUESTIONS.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sam_attribution.exceptions.AttributionWarning")
@pytest.mark.parametrize("mode", ["float64 on meta", "inference"])
def test_results_are_those_of_the_usual_modes(mode, expected):
    for name, question in QUESTIONS.items():
        with MODES[mode]():
            found = question()
        np.testing.assert_array_equal(as_array(found), expected[name], err_msg=name)


@pytest.mark.parametrize("mode", ["no_grad", "inference"])
def test_what_was_made_in_another_mode_is_trained_as_usual(mode):
    """Tensors that were made in inference mode carry no gradient."""
    torch.manual_seed(0)
    start = nn.Linear(4, 3)
    expected = weights_of(classifier(start).fit(X, y))
    with MODES[mode]():
        made = nn.Linear(4, 3)
        made.load_state_dict(start.state_dict())
        found = classifier(made).fit(torch.from_numpy(X).clone(), y)
    assert torch.equal(weights_of(found), expected)
