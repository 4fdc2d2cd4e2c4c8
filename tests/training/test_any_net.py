"""SAMNet: training on any task. What it shares with the other nets: test_contract.py."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import TensorDataset

from sam_attribution import SAMNet
from tests.retrained import Run
from tests.tasks import FEATURES, LABELS, NEXT, SOFT, TASKS, TOKENS, perceptron

WEIGHT = np.random.default_rng(1).uniform(0.5, 2, len(FEATURES))


def ascent(w, g):
    return 0.1 * g / g.norm()


def tensors(task):
    X, y = torch.as_tensor(task.X), torch.as_tensor(task.y)
    return X, y


def run_of(task, net, weight=None):
    """The same training on plain torch with the losses by hand."""
    weight = None if weight is None else torch.as_tensor(weight)
    return Run(
        copy.deepcopy(net.module).double(), *tensors(task), net.trajectory_, ascent,
        torch.optim.SGD, {}, sample_weight=weight, loss=task.by_hand, asked=task.by_hand,
        share=lambda y: torch.ones(len(y)),
    )  # fmt: skip


def vector(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("name", TASKS)
def test_training_equals_a_loop_by_hand(name, weight):
    task = TASKS[name]
    net = task.net().fit(task.X, task.y, sample_weight=weight)
    expected = run_of(task, net, weight).trained(torch.ones(len(task.y), dtype=torch.float64))
    torch.testing.assert_close(vector(net.module_), vector(expected), rtol=1e-10, atol=1e-12)
    X, y = tensors(task)
    with torch.no_grad():
        output = expected(X)
        losses = task.by_hand(output, y).numpy()
    assert net.score(task.X, task.y) == pytest.approx(-losses.mean(), abs=1e-10)
    weighted = net.score(task.X, task.y, sample_weight=WEIGHT)
    assert weighted == pytest.approx(-np.average(losses, weights=WEIGHT), abs=1e-10)
    found = net.predict(task.X)
    assert type(found) is (dict if isinstance(output, dict) else np.ndarray)
    found, output = (part if isinstance(part, dict) else {0: part} for part in (found, output))
    assert found.keys() == output.keys()
    for key, part in found.items():
        np.testing.assert_allclose(part, output[key].numpy(), atol=1e-12)


def test_a_long_sequence_counts_as_much_as_a_short_one():
    """torch's own mean over all tokens of a batch is another loss."""
    task = TASKS["tokens"]
    net = task.net(max_epochs=1, batch_size=-1).fit(task.X, task.y)
    output, y = net.module_(torch.as_tensor(task.X)), torch.as_tensor(task.y)
    per_batch = nn.CrossEntropyLoss()(output, y).item()
    assert abs(net.score(task.X, task.y) + per_batch) > 1e-3


def test_it_is_an_estimator_without_classes():
    net = SAMNet(criterion=nn.BCEWithLogitsLoss, max_epochs=1, random_state=0)
    assert not is_classifier(net)
    assert not is_regressor(net)
    with pytest.raises(NotFittedError):
        net.predict(FEATURES)
    with pytest.raises(NotFittedError):
        net.score(FEATURES, LABELS)
    assert repr(clone(net)) == repr(net)
    assert clone(net).get_params()["criterion"] is nn.BCEWithLogitsLoss
    net.fit(FEATURES, LABELS)
    assert not hasattr(net, "classes_")
    assert not hasattr(net, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba") as error:
        net.predict_proba(FEATURES)
    assert "Call predict, which returns them unchanged" in str(error.value.__cause__)
    assert net.predict(FEATURES).shape == (24, 3)
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(FEATURES), net.predict(FEATURES))


def test_the_default_is_a_regression_of_several_numbers():
    net = SAMNet(max_epochs=2, random_state=0, module__n_hidden=4)
    assert net.fit(FEATURES, FEATURES[:, :2]).predict(FEATURES).shape == (24, 2)
    assert net.fit(FEATURES, FEATURES[:, 0]).predict(FEATURES).shape == (24, 1)
    search = GridSearchCV(net, {"lr": [0.0, 0.1]}, cv=2).fit(FEATURES, FEATURES[:, :2])
    assert search.best_params_ == {"lr": 0.1}


def test_a_nonlinearity_of_predict_is_applied_where_it_is_given():
    net = SAMNet(criterion=nn.BCEWithLogitsLoss, max_epochs=1, random_state=0)
    logits = net.fit(FEATURES, LABELS).predict(FEATURES)
    net.set_params(predict_nonlinearity=torch.sigmoid)
    np.testing.assert_allclose(net.predict(FEATURES), 1 / (1 + np.exp(-logits)), rtol=1e-6)


def test_partial_fit_and_a_split_for_validation():
    task = TASKS["several outputs"]
    net = task.net(max_epochs=1, train_split=ValidSplit(4)).fit(task.X, task.y)
    assert "valid_loss" in net.history[-1]
    twice = task.net(max_epochs=1).fit(task.X, task.y).partial_fit(task.X, task.y)
    once = task.net(max_epochs=2).fit(task.X, task.y)
    assert len(twice.history) == len(once.history) == 2


@pytest.mark.parametrize("name", ["tokens", "several outputs"])
def test_a_run_that_was_stopped_goes_on(name, tmp_path):
    task = TASKS[name]
    whole = task.net(max_epochs=2).fit(task.X, task.y)
    folder = tmp_path / "run"
    task.net(max_epochs=2, trajectory_dir=folder).fit(task.X, task.y)
    torch.manual_seed(0)
    settings = {"module": task.module().double(), "criterion": task.criterion}
    resumed = SAMNet.resume(folder, task.X, task.y, **settings)
    assert torch.equal(vector(resumed.module_), vector(whole.module_))
    states = list(resumed.replay(task.X, task.y))
    assert torch.equal(states[-1].params, vector(whole.module_))


def test_targets_of_any_container():
    expected = SAMNet(max_epochs=1, random_state=0).fit(FEATURES, SOFT).predict(FEATURES)
    for y in (SOFT.tolist(), torch.as_tensor(SOFT), torch.as_tensor(SOFT).float()):
        found = SAMNet(max_epochs=1, random_state=0).fit(FEATURES, y).predict(FEATURES)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def contrastive(output, y):
    return -(output @ output.T).log_softmax(1).diagonal()


def nan_at(y):
    y = np.array(y, dtype=float)
    y[2, 1] = np.nan
    return y


def mean_squares(output, y):
    return ((output - y) ** 2).mean()


def three(n_outputs=3, *layers):
    return perceptron(n_outputs, *layers)


class MeanLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X):
        return {"output": self.layer(X), "loss": self.layer(X).square().mean()}


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X):
        return self.layer(X), self.layer(X).argmax(1)


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X):
        return self.layer(X), X


class Masking(Several):
    def forward(self, X):
        return self.layer(X), X > 0


class Scalar(nn.Module):
    def forward(self, output, y):
        return ((output - y) ** 2).mean()


BAD = {
    "another shape": (
        {"criterion": nn.BCEWithLogitsLoss}, (FEATURES, LABELS[:, :2]),
        r"output has shape \(24, 3\) and y \(24, 2\). Give y the shape",
    ),
    "broadcast": (
        {"criterion": nn.MSELoss}, (FEATURES, LABELS[:, 0]),
        r"output has shape \(24, 3\) and y \(24,\)",
    ),
    "no such class": (
        {"criterion": nn.CrossEntropyLoss}, (FEATURES, np.arange(24)),
        r"CrossEntropyLoss cannot compare an output of shape \(24, 3\).*in int64: Target",
    ),
    "classes on the last axis": (
        {"module": nn.Embedding(6, 7), "criterion": nn.CrossEntropyLoss}, (TOKENS, NEXT),
        "Classes stand on the second axis of the output",
    ),
    "NaN": ({}, (FEATURES, nan_at(SOFT)), "Input y contains NaN"),
    "too few": ({}, (FEATURES, SOFT[:5]), "X has 24 rows, y has 5"),
    "none": ({}, (FEATURES, None), "requires y to be passed.*autoencoder pass y=X"),
    "sum": ({"criterion": nn.MSELoss(reduction="sum")}, (FEATURES, SOFT), "loss is a mean"),
    "one number": (
        {"criterion": Scalar}, (FEATURES, SOFT),
        r"criterion Scalar gives shape \(\) for 24 rows.*a function \(output, y\) -> \(n,\)",
    ),
    "a function of one number": (
        {"criterion": mean_squares}, (FEATURES, SOFT),
        r"criterion mean_squares gives shape \(\).*Return a value per row, shape \(24,\)",
    ),
    "values per entry": (
        {"criterion": lambda output, y: (output - y) ** 2}, (FEATURES, SOFT),
        r"gives shape \(24, 3\) for 24 rows. Return a value per row",
    ),
    "no tensor": ({"criterion": lambda output, y: 1.0}, (FEATURES, SOFT), "gives float for"),
    "the mean of a module": (
        {"module": MeanLoss, "criterion": lambda output, y: output["loss"]}, (FEATURES, SOFT),
        r"got shape \(\).*one per row.*return output.logits",
    ),
    "class weights of one label": (
        {"criterion": nn.CrossEntropyLoss(torch.ones(3))}, (FEATURES, np.arange(24) % 3),
        "has no effect where a row has one label.*SAMClassifier",
    ),
    "labels of -1 and 1": (
        {"criterion": nn.BCEWithLogitsLoss}, (FEATURES, 2 * LABELS - 1),
        "y must hold probabilities for criterion BCEWithLogitsLoss, .* from -1 to 1",
    ),
    "negative shares": (
        {"criterion": nn.CrossEntropyLoss()}, (FEATURES, SOFT - 0.5), "y must hold probabilities",
    ),
    "complex": (
        {"criterion": lambda output, y: output.mean(1) + 0j}, (FEATURES, SOFT), "complex numbers",
    ),
    "whole numbers": (
        {"module": Labelled, "criterion": lambda output, y: output[0].mean(1)}, (FEATURES, SOFT),
        "floating-point numbers, got int64. Leave other tensors out",
    ),
    "a mask": (
        {"module": Masking, "criterion": lambda output, y: output[0].mean(1)}, (FEATURES, SOFT),
        "floating-point numbers, got bool. Leave other tensors out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_trained_is_named(name):
    settings, data, message = BAD[name]
    settings = {"module": perceptron(3)} | settings
    settings |= {"max_epochs": 1, "batch_size": -1, "random_state": 0}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        SAMNet(**settings).fit(*data)


def test_what_is_of_another_kind_is_named():
    for criterion in (nn.GaussianNLLLoss, lambda output, y, X: output.mean(1)):
        with pytest.raises(TypeError, match="cannot be called with an output and y alone: missing"):
            SAMNet(max_epochs=1, criterion=criterion).fit(FEATURES, SOFT)
    with pytest.raises(TypeError, match=r"y must hold numbers, got str.*SAMClassifier"):
        SAMNet(max_epochs=1).fit(FEATURES, np.array(["a", "b"] * 12))
    with pytest.raises(TypeError, match="MSELoss needs one tensor, but module gives a tuple"):
        SAMNet(Several, max_epochs=1).fit(FEATURES, SOFT)
    with pytest.raises(
        TypeError, match=r"GaussianNLLLoss cannot be called.*'var'. Pass a function"
    ):
        SAMNet(criterion=nn.GaussianNLLLoss, max_epochs=1).fit(FEATURES, SOFT)
    with pytest.raises(
        TypeError, match="criterion <lambda> cannot be called with an output and y alone"
    ):
        SAMNet(criterion=lambda output: output.mean(1), max_epochs=1).fit(FEATURES, SOFT)
    with pytest.raises(TypeError, match=r"criterion__scale cannot be set, .*Use functools.partial"):
        SAMNet(max_epochs=1, criterion=mean_squares, criterion__scale=2).fit(FEATURES, SOFT)
    net = SAMNet(max_epochs=1).fit(FEATURES, SOFT)
    with pytest.raises(ValueError, match="y must hold a target for each row, got None"):
        net.score(FEATURES, None)
    for y in (1.0, SOFT + 1j, [None, "a"] * 12):
        with pytest.raises((ValueError, TypeError), match="y must hold numbers"):
            net.score(FEATURES, y)
    with pytest.raises(ValueError, match=r"a SAMNet has no labels. Leave classes out"):
        SAMNet.from_module(perceptron(3), FEATURES, SOFT, classes=["a", "b", "c"])


def test_a_dataset_may_have_targets_of_any_shape():
    task = TASKS["soft labels"]
    pairs = TensorDataset(torch.as_tensor(task.X), torch.as_tensor(task.y))
    net, same = task.net().fit(task.X, task.y), task.net().fit(pairs)
    assert torch.equal(vector(net.module_), vector(same.module_))
    assert same.score(pairs) == pytest.approx(net.score(task.X, task.y), rel=1e-12)


class Described:
    """An output such as those of Hugging Face."""

    def __init__(self, logits, loss):
        self.logits, self.loss = logits, loss


class Describing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X):
        logits = self.layer(X)
        return Described(logits, logits.mean())


def test_of_an_output_with_logits_these_are_taken():
    net = SAMNet(Describing, criterion=nn.BCEWithLogitsLoss, max_epochs=1, random_state=0)
    plain = SAMNet(nn.Linear(4, 3), criterion=nn.BCEWithLogitsLoss, max_epochs=0, random_state=0)
    net.fit(FEATURES, LABELS)
    plain.fit(FEATURES, LABELS).module_.load_state_dict(net.module_.layer.state_dict())
    np.testing.assert_array_equal(net.predict(FEATURES), plain.predict(FEATURES))
