import copy
import math

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn.functional import cross_entropy

from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.training import MLP, SAMClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5))
y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)


def cube(w, g):
    return g.sign() * (g.abs() / (g.abs() ** 1.5).sum() ** (1 / 1.5)) ** 0.5


def adaptive(w, g):
    scale = w.abs() + 0.1
    return scale**2 * g / (scale * g).norm()


# name: (argument, ascent step at radius 1)
BALLS = {
    "l2": ("l2", lambda w, g: g / g.norm()),
    "linf": ("linf", lambda w, g: g.sign()),
    "p=3": (PNorm(p=3), cube),
    "adaptive": (Adaptive(eta=0.1), adaptive),
}


def by_hand(module, batches, rho, ascent, optimizer=torch.optim.SGD, **settings):
    """SAM as in the paper, on plain torch. `ascent` is eps at rho = 1."""
    params = list(module.parameters())
    optimizer = optimizer(params, **settings)
    for rows in batches:
        inputs, codes = torch.tensor(X[rows]), torch.tensor(y[rows])
        gradients = torch.autograd.grad(cross_entropy(module(inputs), codes), params)
        w = nn.utils.parameters_to_vector(params).detach().clone()
        g = nn.utils.parameters_to_vector(gradients)
        nn.utils.vector_to_parameters(w + rho * ascent(w, g), params)
        optimizer.zero_grad()
        cross_entropy(module(inputs), codes).backward()
        nn.utils.vector_to_parameters(w, params)
        optimizer.step()
    return nn.utils.parameters_to_vector(params).detach()


def train(module, rho=0.2, **params):
    defaults = {"dtype": "float64", "max_epochs": 3, "batch_size": 16, "random_state": 1}
    clf = SAMClassifier(module, rho=rho, **(defaults | params)).fit(X, y)
    return clf, nn.utils.parameters_to_vector(clf.module_.parameters()).detach()


@pytest.fixture
def module():
    torch.manual_seed(0)
    return MLP(5, 3, n_hidden=7).double()


@pytest.mark.slow
@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize(
    "sgd",
    [
        {"lr": 0.3},
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
    ],
    ids=["plain", "momentum", "nesterov"],
)
def test_training_equals_a_loop_by_hand(module, ball, sgd):
    perturbation, ascent = BALLS[ball]
    optimizer = {f"optimizer__{name}": value for name, value in sgd.items()}
    clf, trained = train(module, perturbation=perturbation, **optimizer)
    batches = [step.indices for step in clf.trajectory_.schedule]
    expected = by_hand(copy.deepcopy(module), batches, 0.2, ascent, **sgd)
    torch.testing.assert_close(trained, expected, atol=1e-10, rtol=0)
    flat = by_hand(copy.deepcopy(module), batches, 0.0, ascent, **sgd)
    assert (trained - flat).norm() > 1e-3  # the perturbation did something


@pytest.mark.parametrize("ball", ["l2", "adaptive"])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_training_with_adam_equals_a_loop_by_hand(module, kind, ball):
    perturbation, ascent = BALLS[ball]
    settings = {"lr": 0.02, "weight_decay": 0.1, "betas": (0.8, 0.95)}
    clf, trained = train(
        module,
        perturbation=perturbation,
        optimizer=kind,
        **{f"optimizer__{name}": value for name, value in settings.items()},
    )
    batches = [step.indices for step in clf.trajectory_.schedule]
    expected = by_hand(copy.deepcopy(module), batches, 0.2, ascent, kind, **settings)
    torch.testing.assert_close(trained, expected, atol=1e-10, rtol=0)
    flat = by_hand(copy.deepcopy(module), batches, 0.0, ascent, kind, **settings)
    assert (trained - flat).norm() > 1e-3  # the perturbation did something


def test_saved_weights_and_optimiser_come_back(module, tmp_path):
    files = {"f_params": tmp_path / "params.pt", "f_optimizer": tmp_path / "optimizer.pt"}
    clf, trained = train(module, optimizer=torch.optim.Adam, lr=0.02)
    clf.save_params(**files)
    other, _ = train(module, optimizer=torch.optim.Adam, lr=0.02, max_epochs=1)
    other.load_params(**files)
    assert torch.equal(nn.utils.parameters_to_vector(other.module_.parameters()), trained)
    for entry, expected in zip(
        other.optimizer_.state.values(), clf.optimizer_.state.values(), strict=True
    ):
        assert torch.equal(entry["exp_avg_sq"], expected["exp_avg_sq"])


def test_without_radius_it_is_plain_skorch(module):
    clf, trained = train(module, rho=0.0)
    batches = iter([step.indices for step in clf.trajectory_.schedule])
    net = NeuralNetClassifier(
        copy.deepcopy(module), criterion=nn.CrossEntropyLoss, lr=0.1, train_split=None
    ).initialize()
    for rows in batches:
        net.train_step([torch.tensor(X[rows]), torch.tensor(y[rows])])
    assert torch.equal(trained, nn.utils.parameters_to_vector(net.module_.parameters()))
    assert clf.trajectory_.schedule[0].perturbation_norm == 0


def test_float32_follows_the_loop_within_1e_6(module):
    clf, trained = train(module, dtype="float32")
    batches = [step.indices for step in clf.trajectory_.schedule]
    expected = by_hand(copy.deepcopy(module), batches, 0.2, BALLS["l2"][1], lr=0.1)
    torch.testing.assert_close(trained.double(), expected, atol=1e-6, rtol=0)


def test_the_step_records_rows_rate_and_norm(module):
    clf, _ = train(module, rho=0.2, lr=0.3)
    step = clf.trajectory_.schedule[5]
    assert step.rates == (0.3,)
    assert step.perturbation_norm == pytest.approx(0.2)
    assert len(step.indices) == 15


def test_loss_and_prediction_are_those_of_the_first_pass(module):
    clf, _ = train(module, max_epochs=0)
    batch = [torch.tensor(X), torch.tensor(y)]
    before = clf.module_(batch[0]).detach().clone()
    step = clf.train_step_single(batch)
    torch.testing.assert_close(step["y_pred"], before, rtol=0, atol=0)
    torch.testing.assert_close(step["loss"], cross_entropy(before, batch[1]))


def test_gradients_that_were_there_are_kept(module):
    clf, _ = train(module, max_epochs=0)
    batch = [torch.tensor(X), torch.tensor(y)]
    clf.train_step_single(batch)
    once = [p.grad.clone() for p in clf.module_.parameters()]
    clf.train_step_single(batch)
    for p, gradient in zip(clf.module_.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * gradient)


def test_weights_come_back_to_the_bit(module):
    clf, before = train(module, max_epochs=0)
    clf.train_step_single([torch.tensor(X), torch.tensor(y)])
    assert torch.equal(nn.utils.parameters_to_vector(clf.module_.parameters()), before)


class Masks(nn.Module):
    """Dropout that writes down what it drew."""

    def __init__(self):
        super().__init__()
        self.linear, self.drawn = nn.Linear(5, 3), []

    def forward(self, X):
        self.drawn.append(torch.bernoulli(torch.full_like(X, 0.5)))
        return self.linear(X * self.drawn[-1])


@pytest.mark.slow
def test_both_passes_share_dropout_masks_and_steps_do_not():
    clf, _ = train(Masks())
    drawn = clf.module_.drawn[: 2 * clf.trajectory_.n_steps]  # without the check at the end
    first, second = drawn[0::2], drawn[1::2]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_running_statistics_are_those_of_the_first_pass():
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    clf, _ = train(module, batch_size=-1, max_epochs=1)
    hidden = copy.deepcopy(module).double()[0](torch.tensor(X)).detach()
    torch.testing.assert_close(clf.module_[1].running_mean, 0.1 * hidden.mean(0))
    assert clf.module_[1].num_batches_tracked == 1


def test_frozen_and_unused_parameters_are_left_alone():
    class Extra(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.frozen, self.unused = (
                nn.Linear(5, 3),
                nn.Linear(5, 5).requires_grad_(False),
                nn.Linear(2, 2),
            )

        def forward(self, X):
            return self.linear(self.frozen(X))

    module = Extra()
    clf, _ = train(module)
    assert torch.equal(clf.module_.frozen.weight, module.frozen.weight.double())
    assert torch.equal(clf.module_.unused.weight, module.unused.weight.double())
    assert not torch.equal(clf.module_.linear.weight, module.linear.weight.double())


class Tempered(nn.CrossEntropyLoss):
    def __init__(self, learns):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=learns)

    def forward(self, logits, codes):
        return super().forward(self.log_scale.exp() * logits, codes)


def test_a_criterion_that_learns_is_stepped_by_the_second_gradient_and_not_replayed():
    settings = {"criterion": Tempered, "max_epochs": 1, "random_state": 0, "dtype": "float64"}
    settings |= {"module": nn.Linear(X.shape[1], 3), "batch_size": len(X), "lr": 0.1, "rho": 0.5}
    clf = SAMClassifier(criterion__learns=True, **settings).fit(X, y)
    module, criterion = copy.deepcopy(settings["module"]).double(), Tempered(True).double()
    (step,) = clf.trajectory_.schedule
    rows, codes = torch.tensor(X)[step.indices].double(), torch.tensor(y)[step.indices]
    weights = list(module.parameters())
    gradients = torch.autograd.grad(criterion(module(rows), codes), weights)
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for w, g in zip(weights, gradients, strict=True):
            w += 0.5 * g / norm
    (second,) = torch.autograd.grad(criterion(module(rows), codes), [criterion.log_scale])
    torch.testing.assert_close(clf.criterion_.log_scale.detach(), -0.1 * second)
    with pytest.raises(ValueError, match="log_scale outside of module were trained"):
        list(clf.replay(X, y))


def test_a_frozen_parameter_of_the_criterion_is_no_matter():
    settings = {"criterion": Tempered, "max_epochs": 2, "random_state": 0}
    fixed = SAMClassifier(criterion__learns=False, **settings).fit(X, y)
    plain = SAMClassifier(max_epochs=2, random_state=0).fit(X, y)
    for found, expected in zip(fixed.module_.parameters(), plain.module_.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_a_loss_that_is_not_finite_names_its_step(module):
    clf = SAMClassifier(module, lr=1e200, dtype="float64", random_state=0, batch_size=-1)
    with pytest.raises(ValueError, match=r"is (nan|inf) at step \d+; the weights"):
        clf.fit(X, y)
    last = clf.trajectory_.states[-1]
    assert last.step == clf.trajectory_.n_steps
    assert math.isfinite(clf.trajectory_.schedule[0].perturbation_norm)
    assert torch.isfinite(last.params).all()


@pytest.mark.parametrize(
    ("rho", "what"), [(0.1, "norm of the perturbation"), (0.0, "gradient")], ids=["sam", "plain"]
)
def test_a_gradient_that_is_not_finite_names_its_step(rho, what):
    class Kinked(nn.Linear):
        def forward(self, X):
            return super().forward(X) + torch.sqrt(0 * self.bias.sum())

    clf = SAMClassifier(Kinked(5, 3), rho=rho, random_state=0)
    with pytest.raises(ValueError, match=f"The {what} is nan at step 0"):
        clf.fit(X, y)
    assert torch.isfinite(nn.utils.parameters_to_vector(clf.module_.parameters())).all()
