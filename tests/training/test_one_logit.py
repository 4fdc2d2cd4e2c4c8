"""SAMClassifier with one logit is the classifier with the logits (0, z)."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sam_attribution import SAMClassifier
from tests.models import tabular

X, codes, weight = tabular(n_classes=2)
Y = np.array(["no", "yes"])[codes]


class Binary(nn.Module):
    """One logit in a column or in a row, or two of which the first is 0."""

    def __init__(self, form):
        super().__init__()
        self.body, self.head, self.form = nn.Linear(6, 3), nn.Linear(3, 1), form

    def forward(self, X):
        z = self.head(torch.tanh(self.body(X)))
        if self.form == "two":
            return torch.cat([torch.zeros_like(z), z], dim=1)
        return z if self.form == "column" else z[:, 0]


def binary(form, **settings):
    criterion = nn.CrossEntropyLoss if form == "two" else nn.BCEWithLogitsLoss
    defaults = {"criterion": criterion, "max_epochs": 3, "batch_size": 8, "rho": 0.1}
    defaults |= {"random_state": 0, "dtype": "float64"}
    return SAMClassifier(Binary, module__form=form, **defaults | settings)


def vector(net):
    return nn.utils.parameters_to_vector(net.module_.parameters()).detach()


@pytest.mark.slow
@pytest.mark.parametrize("sample_weight", [None, weight])
@pytest.mark.parametrize("form", ["column", "row"])
def test_it_trains_and_predicts_as_two_logits_do(form, sample_weight):
    one, two = (binary(f).fit(X, Y, sample_weight=sample_weight) for f in (form, "two"))
    torch.testing.assert_close(vector(one), vector(two), rtol=1e-10, atol=1e-13)
    assert one.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-10)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    assert one.score(X, Y) == two.score(X, Y) > 0.5
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).predict(X), one.predict(X))


def test_a_weight_of_the_second_class_counts_as_in_torch():
    net = binary("column", criterion__pos_weight=torch.tensor([3.0]), max_epochs=1, batch_size=-1)
    net.fit(X, Y)
    z, y = net.module_(torch.as_tensor(X))[:, 0], torch.as_tensor(codes)
    by_hand = torch.where(y == 1, 3 * nn.functional.softplus(-z), nn.functional.softplus(z))
    torch.testing.assert_close(net.loss_per_sample(z[:, None], y), by_hand)


def test_the_order_of_classes_says_what_a_positive_logit_means():
    trained = binary("row").fit(X, Y)
    settings = {"criterion": nn.BCEWithLogitsLoss, "random_state": 0}
    swapped = SAMClassifier.from_module(trained.module_, X, Y, classes=["yes", "no"], **settings)
    np.testing.assert_allclose(swapped.predict_proba(X), trained.predict_proba(X)[:, ::-1])
    assert swapped.classes_.tolist() == ["no", "yes"]


def test_a_network_of_its_own_has_one_output():
    net = SAMClassifier(criterion=nn.BCEWithLogitsLoss(), max_epochs=2, random_state=0).fit(X, Y)
    assert net.predict_proba(X).shape == (40, 2)
    assert net.module_[-1].out_features == 1


class Twice(nn.Module):
    def forward(self, logit):
        return logit, logit


def test_other_numbers_of_classes_or_logits_are_named():
    net = SAMClassifier(criterion=nn.BCEWithLogitsLoss, max_epochs=1)
    with pytest.raises(ValueError, match="one logit for two classes, but y holds 3 classes"):
        net.fit(X, np.arange(40) % 3)
    with pytest.raises(ValueError, match="but y holds 1 classes"):
        net.fit(X, np.zeros(40))
    net = SAMClassifier(nn.Linear(6, 2), criterion=nn.BCEWithLogitsLoss, max_epochs=1)
    with pytest.raises(ValueError, match=r"one number per row.*got shape \(\d+, 2\)"):
        net.fit(X, Y)
    module = nn.Sequential(nn.Linear(6, 1), Twice())
    with pytest.raises(TypeError, match="must return a tensor and nothing else, got a tuple"):
        SAMClassifier(module, criterion=nn.BCEWithLogitsLoss, max_epochs=1).fit(X, Y)
    net = SAMClassifier(nn.Linear(6, 1), max_epochs=1)
    with pytest.raises(ValueError, match=r"one logit per class.*got shape \(\d+, 1\)"):
        net.fit(X, Y)
