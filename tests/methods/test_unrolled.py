"""Unrolled scores against central differences of real retraining in a row's weight, in float64."""

import copy
import math
import random
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from sam_attribution import SAMClassifier, SAMInfluence, SAMRegressor, ValidationData
from sam_attribution.methods import Unrolled, _unrolled
from sam_attribution.perturbation import Adaptive, PNorm
from sam_attribution.retraining import LeaveOneOut
from sam_attribution.training import _trajectory
from tests.retrained import Run

torch.manual_seed(0)
rng = np.random.default_rng(0)
X, X_val = rng.normal(size=(36, 5)), rng.normal(size=(20, 5))
y, y_val = (np.argmax(rows[:, :3] + 0.5 * rows[:, 2:], 1) for rows in (X, X_val))
weight = rng.uniform(0.5, 2, size=36)

ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU, "softplus": nn.Softplus}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}, 0.2),
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}, 0.1),
    "dampened": (torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3}, 0.1),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05}, 0.1),
    "adam": (torch.optim.Adam, {"weight_decay": 0.01}, 0.02),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}, 0.02),
}
BALLS = {
    "p=1.5": PNorm(1.5),
    "p=2": PNorm(2),
    "p=inf": PNorm(math.inf),
    "adaptive": Adaptive(),
}


def network(activation="tanh", norm=False, dropout=False):
    torch.manual_seed(1)
    # a bias before batch norm has no gradient but rounding, of which Adam makes a step
    layers = [nn.Linear(5, 6, bias=not norm), ACTIVATIONS[activation](), nn.Linear(6, 3)]
    if norm:
        layers.insert(1, nn.BatchNorm1d(6))
    if dropout:
        layers.insert(-1, nn.Dropout(0.25))
    return nn.Sequential(*layers).double()


def trained(module, optimizer="momentum", ball="p=2", *, rho=0.1, **params):
    """A fitted influence and the same run on plain torch."""
    sample_weight = params.pop("sample_weight", None)
    kind, options, lr = OPTIMIZERS[optimizer]
    classifier = SAMClassifier(
        module, optimizer=kind, lr=params.pop("lr", lr), rho=rho, perturbation=BALLS[ball],
        dtype="float64", max_epochs=params.pop("max_epochs", 3),
        batch_size=params.pop("batch_size", 10), random_state=params.pop("seed", 0),
        trajectory=params.pop("trajectory", 2), **params,
        **{f"optimizer__{name}": value for name, value in options.items()},
    )  # fmt: skip
    influence = SAMInfluence(
        classifier, method=Unrolled(check=None), validation=ValidationData(X_val, y_val)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The trained model predicts")
        influence.fit(X, y, sample_weight)
    run = Run(
        module, torch.tensor(X), torch.tensor(y), influence.estimator_.trajectory_,
        lambda w, g: BALLS[ball].eps(w, g, rho), kind, options,
        None if sample_weight is None else torch.tensor(sample_weight),
    )  # fmt: skip
    return influence, run


def derivatives(run, rows, watches=(None, None, None)):
    queries = torch.tensor(X_val), torch.tensor(y_val)
    watched = zip(rows, watches, strict=True)
    return np.array([run.derivative(k, *queries, watch=watch) for k, watch in watched])


def off(scores, derivatives):
    """Largest difference of scores and minus the derivatives, relative to the largest of these."""
    return np.abs(scores + derivatives).max() / np.abs(derivatives).max()


class Kinks:
    """Whether a run is differentiable between the two ends of a central difference.

    For p = inf the perturbation jumps where an entry of the ascent gradient changes its sign;
    Adam bends where the root of its second moment is not far above its eps of 1e-8.
    """

    def __init__(self):
        self._signs, self._smallest = [], 1.0

    def __call__(self, optimizer, g):
        self._signs.append(g.sign())
        for entry in optimizer.state.values():
            second = entry.get("exp_avg_sq", torch.zeros(1))
            if second.any():
                self._smallest = min(self._smallest, float(second[second > 0].min().sqrt()))

    @property
    def crosses_zero(self):
        half = len(self._signs) // 2  # one end after the other
        return not all(map(torch.equal, self._signs[:half], self._signs[half:]))

    @property
    def adam_near_eps(self):
        return self._smallest <= 1e-5


# each optimizer with two balls, each ball with three optimizers
PAIRS = [
    (optimizer, ball)
    for i, optimizer in enumerate(OPTIMIZERS)
    for j, ball in enumerate(BALLS)
    if (i + j) % 2 == 0
]


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "ball"), PAIRS)
def test_scores_are_the_derivative_of_real_retraining(optimizer, ball):
    seen = Counter()

    @given(
        seed=st.integers(0, 1000),
        activation=st.sampled_from(sorted(ACTIVATIONS)),
        norm=st.booleans(),
        dropout=st.booleans(),
        weighted=st.booleans(),
        batch_size=st.integers(6, 36),
        rho=st.floats(0.01, 0.3),
    )
    @settings(
        max_examples=3,
        derandomize=True,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=[HealthCheck.too_slow],
    )
    def one_run(seed, activation, norm, dropout, weighted, batch_size, rho):
        influence, run = trained(
            network(activation, norm, dropout), optimizer, ball, rho=rho, seed=seed,
            batch_size=batch_size, sample_weight=weight if weighted else None,
        )  # fmt: skip
        rows = np.argsort(-np.abs(influence.scores_))[:2]  # the largest relative error counts
        kinks = [Kinks() for _ in rows]
        truth = derivatives(run, rows, kinks)
        if ball == "p=inf" and any(each.crosses_zero for each in kinks):
            seen["kept out: an entry of the gradient crosses 0"] += 1
        elif any(each.adam_near_eps for each in kinks):
            seen["kept out: Adam near its eps"] += 1
        else:
            seen["compared"] += 1
            assert off(influence.scores_[rows], truth) <= 1e-5

    one_run()
    print(f"{optimizer}, {ball}: {dict(seen)}")
    # other versions of hypothesis draw other runs: 2 and more of 3 in most
    assert seen["compared"] >= 1, seen


CLASS_WEIGHT = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)


def of_rows(loss, **settings):
    return partial(loss, reduction="none", **settings)


def prediction_first(loss):
    return lambda output, targets: loss(output[:, 0], targets)


def logs(output):
    """What skorch makes of the probabilities that ``NLLLoss`` wants."""
    return torch.log(output + torch.finfo(output.dtype).eps)


def nll(**settings):
    loss = of_rows(nn.functional.nll_loss, **settings)
    return lambda output, codes: loss(logs(output), codes)


mse, huber = nn.functional.mse_loss, nn.functional.huber_loss
entropy = nn.functional.cross_entropy
# criterion, its settings, loss of a row in training, loss as asked of the validation rows
CRITERIA = {
    "squared error": (nn.MSELoss, {}, *[prediction_first(of_rows(mse))] * 2),
    "huber": (
        nn.HuberLoss, {"delta": 0.4}, *[prediction_first(of_rows(huber, delta=0.4))] * 2
    ),
    "smoothed": (
        nn.CrossEntropyLoss, {"label_smoothing": 0.2},
        *[of_rows(entropy, label_smoothing=0.2)] * 2,
    ),
    "weighted classes": (
        nn.CrossEntropyLoss, {"weight": CLASS_WEIGHT},
        of_rows(entropy, weight=CLASS_WEIGHT), of_rows(entropy),
    ),
    "probabilities": (nn.NLLLoss, {}, nll(), nll()),
    "probabilities, weighted": (
        nn.NLLLoss, {"weight": CLASS_WEIGHT}, nll(weight=CLASS_WEIGHT), nll()
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sample_weight"),
    [*((name, weight) for name in CRITERIA), ("squared error", None), ("smoothed", None)],
    ids=lambda value: value if isinstance(value, str) else "" if value is None else "weights",
)
def test_any_criterion_is_differentiated(name, sample_weight):
    criterion, options, loss, asked = CRITERIA[name]
    targets, asked_of, kind, module = y, y_val, SAMClassifier, network()
    if criterion in (nn.MSELoss, nn.HuberLoss):
        targets, asked_of = (rows[:, 0] - rows[:, 1] ** 2 for rows in (X, X_val))
        kind, module[-1] = SAMRegressor, nn.Linear(6, 1).double()
    if criterion is nn.NLLLoss:
        module.append(nn.Softmax(1))
    net = kind(
        module, criterion=criterion, lr=0.05, rho=0.1, dtype="float64", max_epochs=3,
        batch_size=10, random_state=0, trajectory=2, optimizer__momentum=0.9,
        **{f"criterion__{key}": value for key, value in options.items()},
    )  # fmt: skip
    validation = ValidationData(X_val, asked_of)
    influence = SAMInfluence(net, method=Unrolled(check=None), validation=validation)
    influence.fit(X, targets, sample_weight)
    run = Run(
        module, torch.tensor(X), torch.tensor(targets), influence.estimator_.trajectory_,
        lambda w, g: PNorm(2).eps(w, g, 0.1), torch.optim.SGD, {"momentum": 0.9},
        None if sample_weight is None else torch.tensor(sample_weight), loss, asked=asked,
        share=CLASS_WEIGHT.__getitem__ if "weight" in options else torch.ones_like,
    )  # fmt: skip
    rows = np.argsort(-np.abs(influence.scores_))[:3]
    queries = torch.tensor(X_val), torch.tensor(asked_of)
    truth = np.array([run.derivative(k, *queries) for k in rows])
    assert off(influence.scores_[rows], truth) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_at_rho_zero_it_is_the_derivative_of_plain_sgd(rho):
    influence, run = trained(network(), "sgd", rho=rho)

    def final_loss(s):
        """Plain SGD, written out and left to automatic differentiation."""
        w = run.recorded.states[0].params
        for step in run.recorded.schedule:
            rows = torch.as_tensor(step.indices)
            w = w - step.rates[0] * torch.func.grad(mean_loss)(w, rows, s[rows])
        return mean_loss(w, slice(None), 1.0, torch.tensor(X_val), torch.tensor(y_val))

    def mean_loss(w, rows, s, inputs=torch.tensor(X), codes=torch.tensor(y)):  # noqa: B008
        shapes = [p.shape for p in run.module.parameters()]
        parts = w.split([shape.numel() for shape in shapes])
        names = [name for name, _ in run.module.named_parameters()]
        named = {n: p.view(v) for n, p, v in zip(names, parts, shapes, strict=True)}
        logits = torch.func.functional_call(run.module, named, (inputs[rows],))
        return (s * nn.functional.cross_entropy(logits, codes[rows], reduction="none")).mean()

    plain = torch.func.jacrev(final_loss)(torch.ones(36, dtype=torch.float64)).numpy()
    if rho == 0:
        np.testing.assert_allclose(influence.scores_, -plain, rtol=0, atol=1e-12)
    else:
        assert off(influence.scores_, plain) > 0.01


@pytest.mark.slow
def test_the_table_holds_the_score_with_every_label_at_the_steps_of_the_row():
    """Column c: the derivative in the weight of the same row with label c, at its own steps."""
    influence, run = trained(network(norm=True), "nesterov")
    k, h, labels = 7, 1e-4, torch.tensor(y)

    def value(weight, label):
        """As if the row stood in its batches once more, with another label."""

        def loss(logits, rows):
            extra = weight * nn.functional.cross_entropy(
                logits, torch.full_like(rows, label), reduction="none"
            )
            own = nn.functional.cross_entropy(logits, labels[rows], reduction="none")
            return own + torch.where(rows == k, extra, 0.0)

        other = replace(run, y=torch.arange(36), loss=loss)
        ones = torch.ones(36, dtype=torch.float64)
        return other.value(ones, torch.tensor(X_val), torch.tensor(y_val))

    for label in range(3):
        derivative = (value(h, label) - value(-h, label)) / (2 * h)
        assert abs(influence.transform_train_[k, label] + derivative) <= 1e-9
    spread = np.ptp(influence.transform_train_, axis=1)
    assert spread[k] > 1e-4
    assert influence.transform_train_[k, y[k]] == influence.scores_[k]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clipping_is_differentiated(optimizer):
    clip = [("clip", GradientNormClipping(0.3))]
    influence, run = trained(network(), optimizer, callbacks=clip)
    factors = [step.gradient_factor for step in run.recorded.schedule]
    assert min(factors) < 0.9  # it did clip
    run.clip = 0.3
    rows = np.argsort(-np.abs(influence.scores_))[:3]
    assert off(influence.scores_[rows], derivatives(run, rows)) <= 1e-6


class Wave:
    """A scheduler like those of torch: momentum (to 0 and back) and decay change at each step."""

    def __init__(self, optimizer):
        self.optimizer, self.steps = optimizer, 0
        self.step()

    def step(self):
        changed = {"momentum": (0.9, 0.0, 0.5)[self.steps % 3], "weight_decay": 0.1 * self.steps}
        self.optimizer.param_groups[0].update(changed)
        self.steps += 1


class Waving(Callback):
    def on_train_begin(self, net, **kwargs):
        self.wave = Wave(net.optimizer_)

    def on_batch_end(self, net, training=False, **kwargs):
        self.wave.step()


CYCLE = {"max_lr": 0.1, "total_steps": 13}
one_cycle = partial(OneCycleLR, **CYCLE)
cycling = LRScheduler(OneCycleLR, step_every="batch", **CYCLE)
SCHEDULES = {
    "momentum": ("momentum", one_cycle, cycling),
    "betas": ("adam", one_cycle, cycling),
    "decay": ("sgd", Wave, Waving()),
}


@pytest.mark.slow
@pytest.mark.parametrize("trajectory", [1, "all"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_of_other_settings_than_the_rate_are_differentiated(name, trajectory):
    optimizer, scheduler, callback = SCHEDULES[name]
    influence, run = trained(
        network(norm=True), optimizer, callbacks=[callback], trajectory=trajectory
    )
    run = replace(run, scheduler=scheduler)
    rows = np.argsort(-np.abs(influence.scores_))[:3]
    assert off(influence.scores_[rows], derivatives(run, rows)) <= 1e-6
    still = derivatives(replace(run, scheduler=None), rows)
    assert off(influence.scores_[rows], still) > 1e-2


class GradientNorm(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        norm = sum(p.grad.norm() for _, p in named_parameters)
        net.history.record_batch("gradient_norm", float(norm))


@pytest.mark.slow
def test_a_callback_that_only_watches_gradients_is_no_reason_to_refuse():
    clip = ("clip", GradientNormClipping(0.3))
    others = [("watch", GradientNorm()), ("none", GradientNormClipping(None))]
    influence, run = trained(network(), callbacks=[clip, *others])
    assert min(step.gradient_factor for step in run.recorded.schedule) < 0.9
    alone, _ = trained(network(), callbacks=[clip])
    np.testing.assert_array_equal(influence.scores_, alone.scores_)


class Idle(nn.Module):
    """Has a layer that takes no part."""

    def __init__(self):
        super().__init__()
        self.idle, self.network = nn.Linear(5, 300), network()

    def forward(self, rows):
        return self.network(rows)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["nesterov", "adam", "adamw"])
def test_parameters_that_take_no_part_are_not_stepped(optimizer):
    """torch leaves a parameter without a gradient alone: no weight decay."""
    influence, run = trained(Idle().double(), optimizer)
    alone, _ = trained(network(), optimizer)
    assert run.recorded.schedule[3].without_gradient == ("idle.weight", "idle.bias")
    np.testing.assert_allclose(influence.scores_, alone.scores_, rtol=1e-9, atol=1e-14)
    rows = np.argsort(-np.abs(influence.scores_))[:3]
    assert off(influence.scores_[rows], derivatives(run, rows)) <= 1e-5
    edited, expected = (each.remove([3], how="linear").module_ for each in (influence, alone))
    trained_module = influence.estimator_.module_
    assert torch.equal(edited.idle.weight, trained_module.idle.weight)
    assert torch.allclose(edited.network[0].weight, expected[0].weight, rtol=1e-9)


class LayerDrop(nn.Module):
    """Leaves a layer out of some steps."""

    def __init__(self):
        super().__init__()
        self.always, self.now_and_then = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, rows):
        output = self.always(rows)
        left_out = self.training and torch.rand(()) < 0.5
        return output if left_out else output + self.now_and_then(rows)


@pytest.mark.slow
def test_a_layer_left_out_of_some_steps_is_no_matter_where_a_step_remembers_nothing():
    """There a step without a gradient changes nothing, for torch as in the sweep."""
    influence, run = trained(LayerDrop().double(), "sgd", max_epochs=4)
    missing = [step.without_gradient for step in run.recorded.schedule]
    assert () in missing
    assert ("now_and_then.weight", "now_and_then.bias") in missing
    rows = np.argsort(-np.abs(influence.scores_))[:3]
    assert off(influence.scores_[rows], derivatives(run, rows)) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("module", [network(), network(norm=True, dropout=True)], ids=["", "norm"])
def test_neither_kept_states_nor_scoring_batches_matter(module):
    few, _ = trained(module, "adam", trajectory=1)
    every, _ = trained(module, "adam", trajectory="all")
    np.testing.assert_array_equal(few.scores_, every.scores_)
    for batch_size in (1, 7):
        few.set_params(batch_size=batch_size, estimator=few.estimator)
        np.testing.assert_allclose(few.fit(X, y).scores_, every.scores_, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
def test_all_weights_are_enough_without_the_momentum_between(monkeypatch):
    module, settings = network(norm=True), {"max_epochs": 8, "lr": 0.02}
    every, _ = trained(module, "dampened", trajectory="all", **settings)
    n_params, n_buffers = (sum(t.numel() for t in f()) for f in (module.parameters, module.buffers))
    monkeypatch.setattr(_trajectory, "ALL_WITHIN", 33 * 8 * (2 * n_params + n_buffers) - 1)
    weights, _ = trained(module, "dampened", trajectory="auto", **settings)
    assert weights.estimator_.trajectory_.keep == "weights"
    np.testing.assert_allclose(weights.scores_, every.scores_, rtol=1e-10)
    edited, expected = (each.remove([3, 5], how="linear") for each in (weights, every))
    pairs = zip(edited.module_.parameters(), expected.module_.parameters(), strict=True)
    assert all(torch.allclose(found, wanted, rtol=1e-10, atol=1e-14) for found, wanted in pairs)


@pytest.mark.slow
def test_many_queries_in_one_sweep_are_the_queries_one_by_one():
    influence, _ = trained(network(norm=True, dropout=True), "adamw")
    together = influence.attribute(X_val, y_val)
    alone = [influence.attribute(X_val[i : i + 1], y_val[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(together[:3], alone, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(together.mean(0), influence.scores_, rtol=1e-9, atol=1e-14)


@pytest.mark.slow
def test_other_rows_count_in_every_batch_with_one_nth():
    """On training rows it is what their own batches give, spread over all of them."""
    influence, _ = trained(network(), "momentum", batch_size=36)  # one batch: the same thing
    with pytest.warns(UserWarning, match="weight 1/n"):
        table = influence.transform(X)
    np.testing.assert_allclose(table, influence.transform_train_, rtol=1e-9, atol=1e-14)
    influence, _ = trained(network(), "momentum")
    with pytest.warns(UserWarning, match="X holds 36 rows of fit.* weight 1/n"):
        scores = influence.score_samples(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # rows that are new have no other score
        influence.score_samples(X_val, y_val)
    assert np.corrcoef(scores, influence.scores_)[0, 1] > 0.9
    assert np.abs(scores - influence.scores_).max() > 1e-6


@pytest.mark.filterwarnings("error:X holds")
def test_batch_norm_leaves_other_rows_without_a_score():
    influence, _ = trained(network(norm=True))
    for ask in (influence.transform, influence.score_samples):
        with pytest.raises(ValueError, match="batch norm, which couples a row"):
            ask(X_val)


class FrozenNorm(nn.Module):
    """Its batch norm stays in evaluation mode, as when a pretrained network is tuned."""

    def __init__(self):
        super().__init__()
        self.network = network(norm=True)
        self.network[1].running_var += 0.5

    def train(self, mode=True):
        super().train(mode)
        self.network[1].eval()
        return self

    def forward(self, rows):
        return self.network(rows)


def test_batch_norm_that_stays_in_evaluation_mode_couples_no_rows():
    influence, run = trained(FrozenNorm().double(), batch_size=36)
    with pytest.warns(UserWarning, match="weight 1/n"):
        table = influence.transform(X)
    np.testing.assert_allclose(table, influence.transform_train_, rtol=1e-9, atol=1e-14)
    assert torch.equal(
        influence.estimator_.module_.network[1].running_var, run.module.network[1].running_var
    )


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "n_probes"), [(0.1, 16), (0.0, 8)])
@pytest.mark.parametrize("verbose", [0, 1])
def test_what_takes_as_long_as_training_shows_how_far_it_is(rho, n_probes, verbose, capsys):
    classifier = SAMClassifier(rho=rho, max_epochs=2, batch_size=10, random_state=0)
    influence = SAMInfluence(
        classifier, method=Unrolled(check=None), validation=ValidationData(X_val, y_val),
        verbose=verbose,
    ).fit(X, y)  # fmt: skip
    assert (f"/{n_probes} [" in capsys.readouterr().err) == bool(verbose)
    influence.remove([0], how="linear")
    shown = capsys.readouterr().err
    assert ("removing rows" in shown) == ("/8 [" in shown) == bool(verbose)


def test_the_tangent_names_the_steps_since_the_state_it_set_out_from():
    influence, run = trained(network(), trajectory=1)  # states 0, 6, 11 and 12
    changed = run.recorded.states[2]
    run.recorded.states[2] = replace(changed, params=1.1 * changed.params)
    with pytest.raises(ValueError, match="repeating the steps 6 to 10 of training"):
        influence.remove([0], how="linear")


@pytest.mark.slow
def test_float64_differentiates_a_run_of_its_own():
    single = {"dtype": "float32", "max_epochs": 4}
    module = network("gelu", norm=True, dropout=True)
    classifier = SAMClassifier(
        module.float(), rho=0.1, lr=0.1, optimizer__momentum=0.9, random_state=0, batch_size=10,
        trajectory=3, **single,
    )  # fmt: skip
    found = {}
    for precision in ("training", "float64"):
        influence = SAMInfluence(
            classifier, method=Unrolled(precision=precision),
            validation=ValidationData(X_val, y_val),
        ).fit(X, y)  # fmt: skip
        found[precision] = influence
    distance = found["float64"].diagnostics_.replay_distance[0]
    assert 0 < distance < 1e-5
    assert found["training"].diagnostics_.replay_distance[0] == 0
    first, second = (f.scores_ for f in found.values())
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-4 * np.abs(second).max())
    run = Run(
        module.double(), torch.tensor(X.astype("float32")).double(), torch.tensor(y),
        double(found["float64"].estimator_.trajectory_), lambda w, g: PNorm(2).eps(w, g, 0.1),
        torch.optim.SGD, {"momentum": 0.9},
    )  # fmt: skip
    rows = np.argsort(-np.abs(second))[:3]
    queries = torch.tensor(X_val.astype("float32")).double(), torch.tensor(y_val)
    truth = np.array([run.derivative(k, *queries, h=1e-5) for k in rows])
    assert off(second[rows], truth) <= 1e-9  # the float32 sweep is 1e-5 away
    assert off(first[rows], truth) > 1e-7


class Costs(nn.Module):
    """Cross-entropy with a price for every label in the place of another."""

    reduction = "mean"

    def __init__(self):
        super().__init__()
        self.register_buffer("prices", torch.rand(3, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, logits, labels):
        losses = (self.prices.to(logits.device)[labels] * logits.softmax(1)).sum(1)
        losses = losses + nn.functional.cross_entropy(logits, labels, reduction="none")
        return losses if self.reduction == "none" else losses.mean()


GROUPS = [("0.*", {"lr": 0.1, "weight_decay": 0.003}), ("2.*", {"lr": 0.07})]
DOUBLE = {
    "sample weights": {"sample_weight": weight},
    "class weights": {"criterion__weight": torch.tensor([0.3, 2.0, 1.1])},
    "costs": {"criterion": Costs},
    "groups": {"optimizer__param_groups": GROUPS, "optimizer__weight_decay": 0.01},
    "likelihood": {"criterion": nn.NLLLoss, "criterion__weight": torch.tensor([0.3, 2.0, 1.1])},
    "huber": {"net": SAMRegressor, "criterion": nn.HuberLoss},
    "squares": {"net": SAMRegressor},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DOUBLE)
def test_float64_is_the_run_that_was_in_float64_from_its_start(case):
    settings = {"net": SAMClassifier, "sample_weight": None, "trajectory": "all", **DOUBLE[case]}
    net, weights = settings.pop("net"), settings.pop("sample_weight")
    classes = net is SAMClassifier
    module = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3 if classes else 1))
    if case == "likelihood":
        module.append(nn.Softmax(1))
    rows, queries = X[:16].astype("float32"), X_val.astype("float32")
    target, asked = (y[:16], y_val) if classes else (rows[:, 0] * rows[:, 1], queries[:, 0])
    weights = None if weights is None else weights[:16].astype("float32").astype("float64")
    found = []
    for dtype, precision in (("float32", "float64"), ("float64", "training")):
        if dtype == "float64":
            settings = {k: v.double() if torch.is_tensor(v) else v for k, v in settings.items()}
        estimator = net(
            copy.deepcopy(module).to(getattr(torch, dtype)), dtype=dtype, rho=0.1, lr=0.1,
            max_epochs=3, batch_size=5, optimizer__momentum=0.9, random_state=0, **settings,
        )  # fmt: skip
        method = Unrolled(precision=precision, check=None)
        data = [part.astype(dtype) for part in (rows, queries)]
        influence = SAMInfluence(
            estimator, method=method, validation=ValidationData(data[1], asked)
        )
        influence.fit(data[0], target, sample_weight=weights)
        own = influence.self_influence()
        single = influence.attribute(data[1][:2], asked[:2])
        found.append([influence.scores_, own, *single])
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-11 * np.abs(second).max())


def test_float64_warns_of_a_run_that_is_another(monkeypatch):
    monkeypatch.setattr(_unrolled, "_DOUBTFUL", 1e-10)
    classifier = SAMClassifier(network().float(), max_epochs=2)
    influence = SAMInfluence(
        classifier, method=Unrolled(precision="float64", check=None), random_state=0
    )
    with pytest.warns(
        UserWarning, match=r"in float64 ends .*e-0[6789] away .* Train the estimator"
    ):
        influence.fit(X, y)


def double(recorded):
    """A recorded training that starts in float64."""
    recorded = copy.copy(recorded)
    start = recorded.states[0]
    buffers = {n: b.double() if b.is_floating_point() else b for n, b in start.buffers.items()}
    recorded.states = [replace(start, params=start.params.double(), buffers=buffers)]
    return recorded


@pytest.mark.slow
def test_explain_names_the_epochs():
    influence, _ = trained(network())
    table = influence.explain(X_val[:2], y_val[:2], k=2)
    assert table["epochs"].str.fullmatch(r"[\d, -]+").all()


class Wandering(nn.Module):
    """Keeps a running mean of its own."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.register_buffer("centre", torch.zeros(5))

    def forward(self, rows):
        if self.training:
            self.centre.mul_(0.9).add_(0.1 * rows.detach().mean(0))
        return self.linear(rows - self.centre)


class Scratch(nn.Module):
    """Writes into a buffer and leaves it as it was."""

    def __init__(self):
        super().__init__()
        self.body = network(norm=True)
        self.register_buffer("scratch", torch.ones(3).double())

    def forward(self, rows):
        self.scratch.zero_().add_(2.0)
        output = self.body(rows) * self.scratch.clone()
        self.scratch.fill_(1.0)
        return output


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unrolled", LeaveOneOut(models_at_once=4)])
def test_a_buffer_that_is_only_written_to_is_none_of_the_state(method):
    class Doubled(Scratch):
        def forward(self, rows):
            return self.body(rows) * 2.0

    found = []
    for module in (Scratch, Doubled):
        torch.manual_seed(0)
        classifier = SAMClassifier(
            module(), max_epochs=2, batch_size=10, dtype="float64", random_state=0
        )
        influence = SAMInfluence(classifier, method=method, validation=ValidationData(X_val, y_val))
        found.append(influence.fit(X, y))
    np.testing.assert_allclose(*(each.scores_ for each in found), rtol=0, atol=1e-14)
    states = found[0].estimator_.trajectory_.states
    assert all(bool((state.buffers["scratch"] == 1).all()) for state in states)
    if method == "unrolled":
        edits = [each.remove([1, 2], how="linear").module_.state_dict() for each in found]
        edits = [state["body.0.weight"] for state in edits]
        torch.testing.assert_close(*edits)


class OwnNorm(nn.BatchNorm1d):
    def forward(self, rows):
        statistics = self.running_mean, self.running_var, self.training, 0.1, 1e-5, False
        return torch.batch_norm(rows, self.weight, self.bias, *statistics)


class Halved(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        for _, p in named_parameters:
            p.grad.mul_(0.5)


REFUSALS = {
    "no trajectory": ({"trajectory": None}, {}, "Set trajectory=.auto"),
    "optimizer": ({"optimizer": torch.optim.RMSprop, "lr": 0.01}, {}, "not for RMSprop"),
    "amsgrad": (
        {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True}, {}, "amsgrad=True is not"
    ),
    "groups": (
        {"optimizer__param_groups": [("0.*", {"momentum": 0.5})]}, {}, "differ in momentum"
    ),
    "buffer": ({"module": Wandering}, {}, "changes the buffer 'centre' in training"),
    "norm": (
        {"module": nn.Sequential(nn.Linear(5, 3), OwnNorm(3))}, {}, "has OwnNorm at '1', a batch"
    ),
    "callback": ({"callbacks": [Halved()]}, {}, "Halved, which changes gradients"),
    "callback beside clipping": (
        {"callbacks": [GradientNormClipping(0.01), GradientNorm(), Halved()]}, {},
        "hold Halved, which changes",
    ),
    "left out": (
        {"module": LayerDrop, "batch_size": 4, "optimizer__momentum": 0.9}, {},
        "parameter 'now_and_then.bias' no gradient in some steps",
    ),
    "head": ({}, {"parameters": "head"}, 'parameters must be "all" for unrolled'),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_differentiated_is_named(case):
    training, scoring, message = REFUSALS[case]
    settings = {"module": network().float(), "max_epochs": 1, "random_state": 0} | training
    influence = SAMInfluence(SAMClassifier(**settings), method="unrolled", **scoring)
    with pytest.raises(ValueError, match=message):
        influence.fit(X, y)


def test_a_replay_that_is_not_deterministic_is_found_out():
    classifier = SAMClassifier(network().float(), max_epochs=2, random_state=0, trajectory=1)
    classifier.fit(X, y)
    last = classifier.trajectory_.states[-1]
    moved = last.params.clone()
    moved[0] += 1e-6
    # what was recorded is what the module ends with, but no replay leads there
    classifier.trajectory_.states[-1] = replace(last, params=moved)
    nn.utils.vector_to_parameters(moved, classifier.module_.parameters())
    influence = SAMInfluence(
        FrozenEstimator(classifier), method="unrolled", validation=ValidationData(X_val, y_val)
    )
    with pytest.raises(ValueError, match=r"Replay is not deterministic: it is .* not equal"):
        influence.fit(X, y)


class Rugged(nn.Module):
    """Bounded, but ever more sensitive to its start."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 50), nn.Linear(50, 3)

    def forward(self, rows):
        return self.last(torch.sin(5 * self.first(rows)))


@pytest.mark.slow
def test_a_sweep_that_explodes_says_where_and_the_training_is_not_lost():
    classifier = SAMClassifier(Rugged(), lr=0.3, max_epochs=40, batch_size=4, random_state=0)
    influence = SAMInfluence(classifier, method="unrolled", random_state=0)
    with pytest.raises(ValueError, match=r"not finite before step \d+: the training is unstable"):
        influence.fit(X, y)
    assert influence.estimator_.predict(X).shape == y.shape


class Fused(nn.Module):
    """Fails at the third training pass once ``error`` is set."""

    error = None
    passes = 0

    def __init__(self):
        super().__init__()
        self.network = network(norm=True, dropout=True).float()

    def forward(self, rows):
        if self.training and Fused.error is not None:
            Fused.passes += 1
            if Fused.passes == 3:
                raise Fused.error
        return self.network(rows)


def snapshot(net):
    """All that a fitted net and the process have for others to change."""
    module = net.module_
    everything = {
        "weights": module.state_dict(),
        "gradients": [p.grad for p in module.parameters()],
        "requires grad": [p.requires_grad for p in module.parameters()],
        "training": [part.training for part in module.modules()],
        "optimizer": net.optimizer_.state_dict(),
        "history": list(net.history),
        "streams": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
        "default dtype": str(torch.get_default_dtype()),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "modes": torch.overrides._len_torch_function_stack(),
        "filters": list(warnings.filters),
    }
    return copied(everything)


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.detach().numpy().copy()
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.slow
@pytest.mark.parametrize("trajectory", [1, "all"], ids=["replay", "sweep"])
@pytest.mark.parametrize("error", [None, ValueError("mid"), KeyboardInterrupt()], ids=repr)
def test_nothing_of_the_users_is_changed(error, trajectory, monkeypatch):
    classifier = SAMClassifier(
        Fused, max_epochs=2, batch_size=10, optimizer__momentum=0.9, random_state=0,
        trajectory=trajectory, callbacks=[GradientNorm()],
    ).fit(X, y)  # fmt: skip
    influence = SAMInfluence(
        FrozenEstimator(classifier), method="unrolled", validation=ValidationData(X_val, y_val)
    )
    classifier.predict(X)  # after which skorch leaves the module in evaluation mode
    before = snapshot(classifier)
    monkeypatch.setattr(Fused, "passes", 0)
    monkeypatch.setattr(Fused, "error", error)
    if error is None:
        assert np.isfinite(influence.fit(X, y).scores_).all()
    else:
        with pytest.raises(type(error)):
            influence.fit(X, y)
        assert Fused.passes == 3
    np.testing.assert_equal(snapshot(classifier), before)
