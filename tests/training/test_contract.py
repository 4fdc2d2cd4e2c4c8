import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, dok_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, train_test_split
from skorch.callbacks import EpochScoring
from skorch.dataset import Dataset, ValidSplit
from torch import nn

from sam_attribution.perturbation import PNorm
from sam_attribution.training import (
    MLP,
    ConformantNet,
    ConformantRegressor,
    SAMClassifier,
    SAMRegressor,
)

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4)).astype("float32")
codes = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
names = np.array(["ant", "bee", "cat"])[codes]


def net(*args, **params):
    defaults = {"max_epochs": 5, "batch_size": 16, "random_state": 0, "lr": 0.3}
    return SAMClassifier(*args, **(defaults | params))


def weights_of(clf):
    return nn.utils.parameters_to_vector(clf.module_.parameters()).detach()


@pytest.mark.slow
def test_defaults_read_digits():
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.2, stratify=y, random_state=0)
    assert SAMClassifier(random_state=0).fit(X, y).score(X_test, y_test) >= 0.96


@pytest.mark.slow
def test_string_labels_come_back():
    clf = net(max_epochs=60).fit(X, names)
    assert clf.classes_.tolist() == ["ant", "bee", "cat"]
    assert np.mean(clf.predict(X) == names) > 0.9
    assert torch.equal(weights_of(clf), weights_of(net(max_epochs=60).fit(X, codes)))


@pytest.mark.slow
def test_scoring_while_training_compares_like_with_like():
    callbacks = [EpochScoring("roc_auc_ovr", name="roc", lower_is_better=False)]
    clf = net(train_split=ValidSplit(0.3, stratified=True, random_state=0), callbacks=callbacks,
              max_epochs=40).fit(X, names)  # fmt: skip
    assert clf.history[-1, "valid_acc"] > 0.7
    assert clf.history[-1, "roc"] > 0.8
    assert clf.predict(X).dtype == names.dtype


def equivalents():
    return {
        "list": X.tolist(),
        "float64": X.astype("float64"),
        "frame": pd.DataFrame(X, columns=list("abcd")),
        "csr": csr_array(X),
        "dok": dok_array(X),
        "tensor": torch.tensor(X),
        "fortran": np.asfortranarray(X),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", equivalents())
def test_the_container_does_not_matter(kind):
    data = equivalents()[kind]
    clf, plain = net().fit(data, codes), net().fit(X, codes)
    assert torch.equal(weights_of(clf), weights_of(plain))
    np.testing.assert_array_equal(clf.predict_proba(data), plain.predict_proba(X))
    assert clf.n_features_in_ == 4


def test_a_frames_column_names_are_kept_and_checked():
    frame = pd.DataFrame(X, columns=list("abcd"))
    clf = net().fit(frame, names)
    assert clf.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame[list("dcba")])


@pytest.mark.parametrize("data", [X[:, :2], torch.tensor(X[:, :2])], ids=["array", "tensor"])
def test_another_number_of_features_is_refused(data):
    with pytest.raises(ValueError, match="X has 2 features, but SAMClassifier is expecting 4"):
        net().fit(X, codes).predict(data)


@pytest.mark.slow
def test_images_reach_a_convolution_as_they_are():
    class CNN(nn.Sequential):
        def __init__(self, n_classes):
            super().__init__(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_classes))
            self(torch.zeros(1, 2, 5, 5))

    images = rng.normal(size=(40, 2, 5, 5))
    labels = (images.mean((1, 2, 3)) > 0).astype(int)
    clf = net(CNN, max_epochs=100).fit(images, labels)
    assert clf.score(images, labels) > 0.9
    assert clf.module_[3].out_features == 2


def test_the_default_module_takes_images():
    images = rng.normal(size=(20, 2, 3, 3))
    clf = net().fit(images, np.arange(20) % 3)
    assert clf.module_[1].in_features == 18
    assert clf.predict_proba(images).shape == (20, 3)


def test_whole_numbers_stay_whole_for_a_users_module():
    class Tokens(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 2))

    tokens = rng.integers(0, 7, size=(30, 4))
    clf = net(Tokens).fit(tokens, tokens[:, 0] > 3)
    assert clf.predict(tokens).dtype == bool
    assert clf.to_tensors(tokens)[0].dtype == torch.int64


def test_datasets_and_dicts_go_skorchs_way():
    class Named(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)

        def forward(self, a):
            return super().forward(a)

    expected = net(Named).fit(X, codes)
    assert torch.equal(weights_of(net(Named).fit({"a": X}, codes)), weights_of(expected))
    dataset = net(Named).fit(Dataset(X, codes), None)
    assert torch.equal(weights_of(dataset), weights_of(expected))
    assert dataset.classes_.tolist() == [0, 1, 2]


def test_to_tensors_gives_what_the_module_sees():
    clf = net(dtype="float64").fit(X, names)
    rows, labels = clf.to_tensors(csr_array(X[:5]), names[:5])
    features = rows[:]  # a sparse matrix is made dense batch by batch
    assert features.dtype == torch.float64
    assert labels.tolist() == codes[:5].tolist()
    with torch.no_grad():
        expected = clf.module_(features).softmax(1)
    np.testing.assert_allclose(clf.predict_proba(X[:5]), expected)
    assert clf.to_tensors(X)[1] is None
    with pytest.raises(ValueError, match=r"labels that were not in fit: \['dog'\]"):
        clf.to_tensors(X[:1], ["dog"])
    with pytest.raises(ValueError, match="expecting 4 features"):
        clf.to_tensors(X[:, :2])


def test_sample_weights_weight_a_batch():
    weight = rng.uniform(size=60)
    module = MLP(4, 3).double()
    clf = net(module, rho=0.0, dtype="float64", batch_size=-1, max_epochs=1, lr=1.0)
    clf.fit(X, codes, sample_weight=weight)
    losses = nn.functional.cross_entropy(
        module(torch.tensor(X).double()), torch.tensor(codes), reduction="none"
    )
    mean = (torch.tensor(weight) * losses).sum() / weight.sum()
    gradients = torch.autograd.grad(mean, list(module.parameters()))
    for p, q, g in zip(module.parameters(), clf.module_.parameters(), gradients, strict=True):
        torch.testing.assert_close(p - g, q)


def test_a_batch_without_weight_changes_nothing():
    clf = net(iterator_train__shuffle=False, batch_size=20, max_epochs=1, trajectory="all")
    clf.fit(X, codes, sample_weight=np.repeat([1.0, 0.0, 1.0], 20))
    first, second, third, last = (state.params for state in clf.trajectory_.states)
    assert torch.equal(second, third)
    assert not torch.equal(first, second)
    assert not torch.equal(third, last)


@pytest.mark.parametrize("random_state", [0, None])
def test_nothing_of_the_users_changes(random_state):
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3))
    given = X.copy(), names.copy(), pickle.dumps(module.state_dict())
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    clf = net(module, random_state=random_state).fit(X, names)
    clf.predict(X)
    assert (numpy_state == np.random.get_state()[1]).all()
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (given[0] == X).all()
    assert (given[1] == names).all()
    assert given[2] == pickle.dumps(module.state_dict())
    assert module.training
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.slow
def test_random_state_is_all_the_randomness():
    with_seed = [weights_of(net(random_state=s).fit(X, codes)) for s in (1, 1, 2, None, None)]
    assert torch.equal(with_seed[0], with_seed[1])
    assert not torch.equal(with_seed[0], with_seed[2])
    assert not torch.equal(with_seed[3], with_seed[4])
    stream = np.random.RandomState(0)
    assert not torch.equal(*(weights_of(net(random_state=stream).fit(X, codes)) for _ in "ab"))


def test_a_random_state_instance_fixes_a_fit():
    fits = [net(random_state=np.random.RandomState(3)).fit(X, codes) for _ in "ab"]
    assert torch.equal(*map(weights_of, fits))
    regressor = SAMRegressor(max_epochs=2, random_state=np.random.RandomState(3))
    assert torch.equal(*(weights_of(clone(regressor).fit(X, X[:, 0])) for _ in "ab"))


def test_a_fit_forgets_the_one_before():
    frame = pd.DataFrame(X, columns=list("abcd"))
    clf = net().fit(frame, names).fit(torch.tensor(X), names)
    assert not hasattr(clf, "feature_names_in_")
    with pytest.raises(ValueError, match="y contains"):
        clf.fit(X, [float("nan")] * 60)
    with pytest.raises(NotFittedError, match="not initialized yet"):
        clf.predict(X)
    again = clf.partial_fit(X, names)
    assert torch.equal(weights_of(again), weights_of(net().fit(X, names)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rho": -0.1}, "'rho' parameter of SAMClassifier must be a float in the range"),
        ({"perturbation": "l7"}, "'perturbation' parameter"),
        ({"perturbation": PNorm}, "'perturbation' parameter of SAMClassifier must be"),
        ({"trajectory": 0}, "'trajectory' parameter"),
        ({"dtype": "int8"}, "'dtype' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
        ({"module_n_hidden": 3}, "did you mean module__n_hidden"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        net(**params).fit(X, codes)


@pytest.mark.parametrize("cls", [ConformantNet, ConformantRegressor])
def test_wrong_parameters_are_named_without_sam_too(cls):
    with pytest.raises(ValueError, match=f"'dtype' parameter of {cls.__name__}"):
        cls(dtype="int8").fit(X, codes)


def test_the_default_module_wants_arrays_first():
    with pytest.raises(ValueError, match=r"builds a network for the rows of fit\. Call fit first"):
        net().initialize()
    # rows of a Dataset that are one tensor each have a size, too
    found = net().fit(Dataset(X, codes), None)
    assert torch.equal(weights_of(found), weights_of(net().fit(X, codes)))


def test_the_perturbation_is_reached_from_outside():
    clf = net(perturbation=PNorm()).set_params(perturbation__p=3)
    assert clf.get_params()["perturbation__p"] == 3
    assert clone(clf).perturbation.p == 3
    cubed = clf.fit(X, codes)
    assert torch.equal(weights_of(cubed), weights_of(net(perturbation=PNorm(3)).fit(X, codes)))
    assert not torch.equal(weights_of(cubed), weights_of(net().fit(X, codes)))
    with pytest.raises(ValueError, match="perturbation='l2' has no parameter"):
        net().set_params(perturbation__p=3)


@pytest.mark.slow
def test_grid_search_over_rho_and_the_ball():
    grid = {"rho": [0.0, 0.1], "perturbation__p": [2, 4], "module__n_hidden": [3]}
    search = GridSearchCV(net(perturbation=PNorm()), grid, cv=2).fit(X, names)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.module_[1].out_features == 3


@pytest.mark.slow
def test_a_fitted_clone_and_a_pickle():
    clf = net().fit(X, names)
    assert not hasattr(clone(clf), "module_")
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(clf.predict_proba(X), again.predict_proba(X))
    states = zip(clf.replay(X, names), again.replay(X, names), strict=True)
    assert all(torch.equal(a.params, b.params) for a, b in states)
    assert torch.equal(
        weights_of(clf.partial_fit(X, names)), weights_of(again.partial_fit(X, names))
    )


def test_partial_fit_goes_on_as_one_long_fit():
    params = {"optimizer__momentum": 0.9}
    twice = net(**params).partial_fit(X, names).partial_fit(X, names)
    assert torch.equal(weights_of(twice), weights_of(net(max_epochs=10, **params).fit(X, names)))


def test_partial_fit_with_classes_to_come():
    clf = net().partial_fit(X[:3], names[:3], classes=["cat", "bee", "ant", "dog"])
    assert clf.predict_proba(X).shape == (60, 4)
    with pytest.raises(ValueError, match=r"not in fit: \['eel'\]"):
        clf.partial_fit(X[:1], ["eel"])


@pytest.mark.parametrize("settings", [{}, {"classes": ["ant", "bee", "cat"]}])
def test_other_classes_than_those_of_the_first_call_are_refused(settings):
    clf = net(max_epochs=1, **settings).partial_fit(X, names, classes=["cat", "bee", "ant"])
    before = weights_of(clf)
    for other in (["ant", "bee"], ["ant", "bee", "cat", "dog"], [0, 1, 2]):
        with pytest.raises(ValueError, match=r"classes must be .*\['ant', 'bee', 'cat'\], got"):
            clf.partial_fit(X, names, classes=other)
    assert torch.equal(weights_of(clf), before)
    clf.partial_fit(X, names, classes=["bee", "ant", "cat"])
    with pytest.raises(ValueError, match="classes must be those that the net has"):
        net(classes=["ant", "bee", "cat", "dog"]).partial_fit(X, names, classes=names)


def test_warm_start_goes_on():
    clf = net(warm_start=True).fit(X, names).fit(X, names)
    assert torch.equal(weights_of(clf), weights_of(net(max_epochs=10).fit(X, names)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_per_sample_averages_to_the_training_loss(smoothing):
    clf = net(criterion__label_smoothing=smoothing, dtype="float64").fit(X, names)
    features, labels = clf.to_tensors(X, names)
    logits = clf.module_(features)
    target = (1 - smoothing) * nn.functional.one_hot(labels) + smoothing / 3
    losses = clf.loss_per_sample(logits, labels)
    torch.testing.assert_close(losses, -(target * logits.log_softmax(1)).sum(1))
    torch.testing.assert_close(losses.mean(), clf.get_loss(logits, labels))


class Whole(nn.Module):
    reduction = "mean"

    def forward(self, logits, codes):
        return nn.functional.cross_entropy(logits, codes)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (nn.MultiMarginLoss(weight=torch.ones(3)), r"MultiMarginLoss\(weight=...\)"),
        (Whole, r"gives shape \(\) for 60 rows"),
    ],
)
def test_a_criterion_without_a_value_per_row_is_refused_by_name(criterion, message):
    clf = net(criterion=criterion).fit(X, codes)
    features, labels = clf.to_tensors(X, codes)
    with pytest.raises(ValueError, match=message):
        clf.loss_per_sample(clf.module_(features), labels)


def test_module_instances_can_be_searched_over():
    modules = [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3))]
    clf = net().set_params(module=modules[0], criterion=nn.CrossEntropyLoss()).fit(X, codes)
    assert isinstance(clf.module_, nn.Linear)
    search = GridSearchCV(net(), {"module": modules}, cv=2).fit(X, codes)
    assert search.best_estimator_.module_ is not search.best_params_["module"]
