"""A network that was trained elsewhere becomes a fitted net, and stays as it is."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.utils.data import TensorDataset

from sam_attribution import (
    FilteredClassifier,
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    SAMNet,
    SAMRegressor,
)
from sam_attribution.perturbation import PNorm
from sam_attribution.training._from_module import _device_of
from tests.adopted import VALIDATION, X, Y, module, with_batch_norm

WORDS = np.array(["rose", "iris", "aster"])


def adopt(network=None, y=Y, **settings):
    return SAMClassifier.from_module(module() if network is None else network, X, y, **settings)


def probabilities(network):
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        return network(torch.as_tensor(X)).softmax(1).numpy()


def everything(network):
    """All that could change in a module: numbers, their versions, gradients, modes, hooks."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return {
        "tensors": {name: (id(t), t._version, t.tolist()) for name, t in tensors.items()},
        "gradients": [None if p.grad is None else p.grad.tolist() for p in network.parameters()],
        "frozen": [p.requires_grad for p in network.parameters()],
        "modes": [part.training for part in network.modules()],
        "hooks": [list(part._forward_hooks.values()) for part in network.modules()],
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_module_stays_as_it_is(training):
    network = with_batch_norm().train(training)
    network[0].bias.requires_grad_(False)
    network(torch.as_tensor(X)).sum().backward()
    network[2].register_forward_hook(lambda layer, given, output: None)
    before, stream = everything(network), torch.get_rng_state()
    net = adopt(network, rho=0.1)
    net.predict(X)
    assert everything(network) == before
    assert torch.equal(torch.get_rng_state(), stream)
    assert [p.requires_grad for p in net.module_.parameters()] == before["frozen"]
    assert net.trajectory_.names == ("0.weight", "1.weight", "1.bias", "3.weight", "3.bias")


def test_predictions_are_those_of_the_module_in_evaluation_mode():
    network = with_batch_norm()
    network(torch.as_tensor(X))  # statistics that are not those of a new module
    net, expected = adopt(network), probabilities(network)
    np.testing.assert_array_equal(net.predict_proba(X), expected)
    np.testing.assert_array_equal(net.predict(X), expected.argmax(1))
    assert net.score(X, Y) == np.mean(expected.argmax(1) == Y)
    assert net.n_features_in_ == 4
    assert net.trajectory_.n_steps == 0


def test_a_regressor_is_adopted():
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    net = SAMRegressor.from_module(network, X, X @ [1, 2, 3, 4.0])
    expected = network(torch.as_tensor(X, dtype=torch.float32))[:, 0]
    np.testing.assert_array_equal(net.predict(X), expected.detach().numpy())
    with pytest.raises(ValueError, match="classes name the label of each logit"):
        SAMRegressor.from_module(network, X, Y, classes=[0])


def test_classes_name_the_logits_in_their_order():
    network = module()
    net = adopt(network, WORDS[Y], classes=WORDS)
    assert net.classes_.tolist() == ["aster", "iris", "rose"]
    np.testing.assert_array_equal(net.predict_proba(X), probabilities(network)[:, [2, 1, 0]])
    np.testing.assert_array_equal(net.predict(X), WORDS[probabilities(network).argmax(1)])
    assert net.to_tensors(X, WORDS[Y])[1].tolist() == Y.tolist()


def test_a_class_may_have_no_row():
    net = adopt(y=np.minimum(Y, 1), classes=[0, 1, 2])
    assert net.predict_proba(X).shape == (len(X), 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.minimum(Y, 1)}, r"one logit per class, shape \(n_samples, 2\)"),
        ({"classes": [0, 1, 2, 3]}, r"one logit per class, shape \(n_samples, 4\)"),
        ({"classes": [0, 1]}, r"labels of y .*, got \[0, 1\], and y also holds \[2\]"),
        ({"classes": ["a", "b", "c"]}, r"\['a', 'b', 'c'\].* \[0, 1, 2\]\. Leave classes out if"),
        ({"classes": [0, 1, 1, 2]}, "classes must name each label once"),
        ({"network": module().half()}, 'numbers in float16.*dtype="float32"'),
        ({"network": module().requires_grad_(False)}, "no parameter to train"),
        ({"y": Y[:5]}, "inconsistent numbers of samples"),
        ({"rho": -1.0}, "rho"),
        ({"rho": lambda epoch: 0.1}, "'rho' parameter of from_module must be a float"),
        ({"network": module().to("meta")}, r"'0.weight' on the meta device.* load the trained"),
        ({"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        adopt(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": module().state_dict()}, "trained torch.nn.Module.*load_state_dict"),
        ({"module__n_hidden": 3}, "no parameter module__n_hidden"),
        ({"trajectory": 10}, "no parameter trajectory"),
        ({"weight_decay": 0.1, "optimizer__weight_decay": 0.1}, "pass one of them"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        adopt(**arguments)


class WithFeatures(nn.Linear):
    """An output with more than the criterion takes: its numbers would count as logits."""

    def forward(self, inputs):
        return super().forward(inputs), inputs


def test_an_output_that_training_refuses_is_refused():
    several = (SAMClassifier, WithFeatures(4, 3), Y), (SAMRegressor, WithFeatures(4, 1), X[:, 0])
    for kind, network, y in several:
        with pytest.raises(TypeError, match="must return a tensor and nothing else, got a tuple"):
            kind.from_module(network, X, y)
    with pytest.raises(
        ValueError, match=r"NLLLoss needs a module that ends in a Softmax.*Use CrossEntropyLoss"
    ):
        adopt(nn.Sequential(module(), nn.LogSoftmax(1)), criterion=nn.NLLLoss)
    with pytest.raises(ValueError, match=r"output has shape \(32, 3\) and y \(32,\)"):
        SAMNet.from_module(module(), X, X[:, 0])
    assert SAMNet.from_module(module(), X, X[:, :3]).predict(X).shape == (32, 3)


def test_settings_are_those_of_the_constructor():
    settings = {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1), "batch_size": 5}
    net = adopt(perturbation=PNorm(p=3), weight_decay=0.01, lr=0.3, rho=0.2, **settings)
    assert net.get_params()["batch_size"] == 5
    assert net.criterion_.label_smoothing == 0.1
    assert net.trajectory_.perturbation.p == 3
    (group,) = net.optimizer_.param_groups
    assert (group["lr"], group["weight_decay"], net.trajectory_.rho) == (0.3, 0.01, 0.2)


def test_type_and_device_are_those_of_the_module():
    assert adopt().dtype == "float64"
    assert adopt(module().float()).module_[0].weight.dtype == torch.float32
    cast = adopt(module().bfloat16(), dtype="float32")
    assert cast.module_[0].weight.dtype == torch.float32
    assert cast.device == "cpu"
    with pytest.raises(ValueError, match="several devices, cpu, meta"):
        _device_of(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, device="meta")))


def test_wrappers_are_taken_off():
    network = module()
    wrapped = nn.DataParallel(network)
    assert [name for name, _ in adopt(wrapped).module_.named_parameters()] == [
        name for name, _ in network.named_parameters()
    ]


@pytest.mark.parametrize("copied", ["pickle", "joblib", "deepcopy"])
def test_copies_are_equal_and_adopted_too(copied, tmp_path):
    net = adopt(rho=0.1, classes=[2, 1, 0])
    if copied == "joblib":
        joblib.dump(net, tmp_path / "net")
        other = joblib.load(tmp_path / "net")
    else:
        other = pickle.loads(pickle.dumps(net)) if copied == "pickle" else copy.deepcopy(net)
    np.testing.assert_array_equal(other.predict_proba(X), net.predict_proba(X))
    assert clone(other) is other


def test_clone_returns_the_net_itself_as_of_a_frozen_estimator():
    net = adopt()
    assert clone(net) is net
    assert clone(MislabelDetector(net)).estimator is net


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("fit and partial_fit", lambda net: net.fit(X, Y)),
        ("fit and partial_fit", lambda net: net.partial_fit(X, Y)),
        (r"set_params\(rho\)", lambda net: net.set_params(rho=0.1)),
    ],
)
def test_an_adopted_net_cannot_be_changed(what, call):
    net = adopt()
    before = net.predict_proba(X)
    with pytest.raises(ValueError, match=rf"{what} would change .*SAMClassifier\(module\).fit"):
        call(net)
    np.testing.assert_array_equal(net.predict_proba(X), before)


@pytest.mark.parametrize("span", [{}, {"start": 2}])
def test_replay_is_refused_by_name(span):
    with pytest.raises(ValueError, match=r"replay needs every step.*SAMClassifier\(...\).fit"):
        adopt().replay(X, Y, **span).__next__()


def test_a_filter_does_not_train_it():
    net = adopt()
    scorer = MislabelDetector(net, validation=VALIDATION)
    with pytest.raises(ValueError, match=r"Pass SAMClassifier\(module\) as estimator"):
        FilteredClassifier(net, scorer=scorer).fit(X, Y)


def test_other_rows_are_named():
    net = adopt()
    with pytest.raises(ValueError, match=r"from_module was given other data: X differ"):
        net.trajectory_.check_data(*net.as_trained(X + 1, Y))


def test_the_same_rows_in_another_form_are_told_to_take_the_first_form():
    rows = TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    with pytest.raises(ValueError, match=r"same order and form \(array, dict, Dataset\)"):
        SAMInfluence(adopt(), method="grad-dot", validation=VALIDATION).fit(rows)


def test_the_parameters_are_those_of_the_constructor():
    net = adopt()
    assert net.get_params(deep=False).keys() == SAMClassifier().get_params(deep=False).keys()
    assert clone(net) is net


def test_the_net_prints_the_seed_that_was_passed_and_no_other():
    net = adopt()
    assert "random_state" not in repr(net)
    assert "trajectory" not in repr(net)
    SAMInfluence(net, method="grad-dot", validation=VALIDATION, random_state=7).fit(X, Y)
    assert net.random_state is None
    assert "random_state=3" in repr(adopt(random_state=3))
    assert "trajectory=None" in repr(SAMClassifier(trajectory=None))
