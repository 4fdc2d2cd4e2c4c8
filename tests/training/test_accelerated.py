"""Training through Hugging Face accelerate: the same steps, also in half precision."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn.functional import cross_entropy

from sam_attribution import SAMInfluence, ValidationData
from sam_attribution.methods import GIF
from sam_attribution.methods._rates import plain_rates
from sam_attribution.problem import problem_from_estimator
from sam_attribution.training import MLP, ConformantNet, SAMClassifier, SAMMixin
from sam_attribution.training.storage._packing import from_bytes, to_bytes
from sam_attribution.training.storage._schedule_data import schedule_as_data, schedule_of

accelerate = pytest.importorskip("accelerate")
from skorch.hf import AccelerateMixin  # noqa: E402

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5)).astype("float32")
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.7)
rows, codes = torch.tensor(X), torch.tensor(y)


class Accelerated(SAMMixin, AccelerateMixin, ConformantNet):
    pass


class Noisy(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
        )


SETTINGS = {
    "module": Noisy,
    "max_epochs": 3,
    "batch_size": 16,
    "random_state": 0,
    "lr": 0.1,
    "rho": 0.2,
    "trajectory": "all",
}


def accelerated(scaler=None, precision="no", sample_weight=None, **settings):
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    accelerator.scaler = scaler
    net = Accelerated(
        accelerator=accelerator, callbacks__print_log__sink=print, **{**SETTINGS, **settings}
    )
    return net.fit(X, y, sample_weight=sample_weight)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """The state of accelerate is one for the whole process."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def assert_same_states(found, expected):
    for state, its_twin in zip(found, expected, strict=True):
        assert torch.equal(state.params, its_twin.params), state.step
        for name, buffer in its_twin.buffers.items():
            assert torch.equal(state.buffers[name], buffer), (state.step, name)


RUNS = {
    "momentum": {"optimizer__momentum": 0.9},
    "adamw": {"optimizer": torch.optim.AdamW, "lr": 0.01},
    "rates": {"callbacks": [LRScheduler("StepLR", step_size=2, step_every="batch")]},
    "weights": {"sample_weight": rng.uniform(size=60)},
}


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_it_trains_as_the_classifier_does(run):
    settings = dict(RUNS[run])
    weight = settings.pop("sample_weight", None)
    plain = SAMClassifier(**{**SETTINGS, **settings}).fit(X, y, sample_weight=weight)
    clf = accelerated(sample_weight=weight, **settings)
    assert_same_states(clf.trajectory_.states, plain.trajectory_.states)
    for step, its_twin in zip(clf.trajectory_.schedule, plain.trajectory_.schedule, strict=True):
        assert (step.indices == its_twin.indices).all()
        assert step.rates == its_twin.rates
        assert step.perturbation_norm == its_twin.perturbation_norm
    replayed = clf.replay(X, y, sample_weight=weight)
    assert_same_states(replayed, plain.trajectory_.states)


def test_losses_in_half_precision_give_no_alarm(recwarn):
    net = accelerated(precision="bf16")
    GIF(n_checkpoints=None).prepare(problem_from_estimator(net, X, y))
    assert not [w for w in recwarn if "computed again" in str(w.message)]


def test_scores_are_those_of_the_classifier():
    plain, clf = SAMClassifier(**SETTINGS), Accelerated(
        accelerator=accelerate.Accelerator(cpu=True), callbacks__print_log__sink=print, **SETTINGS
    )  # fmt: skip
    held_out = ValidationData(X[:20], y[:20])
    scores = [
        SAMInfluence(net, method=GIF(n_checkpoints=4), validation=held_out).fit(X, y).scores_
        for net in (plain, clf)
    ]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize(
    "order",
    [
        (AccelerateMixin, SAMClassifier),
        (SAMClassifier, AccelerateMixin),
        (AccelerateMixin, SAMMixin, ConformantNet),
    ],
)
def test_another_order_is_refused(order):
    with pytest.raises(TypeError, match=r"Write class Wrong\(SAMMixin, AccelerateMixin, Conform"):
        type("Wrong", order, {})


def test_a_step_of_ones_own_around_that_of_sam_is_fine():
    class Counting(SAMClassifier):
        n_calls = 0

        def train_step_single(self, batch, **fit_params):
            self.n_calls += 1
            return super().train_step_single(batch, **fit_params)

    clf = Counting(**SETTINGS).fit(X, y)
    assert clf.n_calls == clf.trajectory_.n_steps == 12


def test_gradient_accumulation_is_refused():
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="gradient_accumulation_steps=2, but skorch clears"):
        Accelerated(accelerator=accelerator, **SETTINGS).fit(X, y)


def in_bfloat16(module, batch):
    """Loss of one batch under autocast."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return cross_entropy(module(rows[batch]).float(), codes[batch])


def flat_gradient(loss, params, scale=1.0):
    gradients = torch.autograd.grad(scale * loss, params)
    return nn.utils.parameters_to_vector(gradients)


def test_bfloat16_equals_a_loop_by_hand():
    module = MLP(5, 3, n_hidden=7)
    clf = accelerated(precision="bf16", module=module)
    twin = copy.deepcopy(module)
    params = list(twin.parameters())
    for step in clf.trajectory_.schedule:
        w = nn.utils.parameters_to_vector(params).detach().clone()
        g = flat_gradient(in_bfloat16(twin, step.indices), params)
        nn.utils.vector_to_parameters(w + 0.2 * g / g.norm(), params)
        g = flat_gradient(in_bfloat16(twin, step.indices), params)
        nn.utils.vector_to_parameters(w - 0.1 * g, params)
    trained = clf.trajectory_.states[-1].params
    torch.testing.assert_close(nn.utils.parameters_to_vector(params), trained, rtol=0, atol=1e-6)
    wide = SAMClassifier(**{**SETTINGS, "module": module}).fit(X, y).trajectory_.states[-1].params
    assert (wide - trained).norm() > 1e-4
    assert trained.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("unwrap", [True, False])
def test_bfloat16_is_replayed_and_scored_in_full_width(unwrap):
    clf = accelerated(precision="bf16", unwrap_after_train=unwrap)
    few = accelerated(precision="bf16", unwrap_after_train=unwrap, trajectory=1)
    assert_same_states(few.replay(X, y), clf.trajectory_.states)
    problem = problem_from_estimator(clf, X, y)
    bare = Noisy()
    bare.load_state_dict(clf.module_.state_dict())
    expected = bare.eval()(rows)
    found = problem.logits(problem.params, problem.buffers, rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (in_half(bare) - expected).abs().max() > 1e-4
    moved = problem.logits(problem.params + 1, problem.buffers, rows)
    assert (moved - found).abs().max() > 1  # the copy's own weights


def in_half(module):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module(rows).float()


class Steep(nn.CrossEntropyLoss):
    """So that scaled gradients overflow float32 before the scale itself does."""

    def forward(self, logits, labels):
        return 1000 * super().forward(logits, labels)


def grows_too_far(start=117):
    """Overflows now and again, as half precision does."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**start, growth_interval=2)


STEEP = {"criterion": Steep, "max_epochs": 6}


def scaled_by_hand(module, clf, rate):
    """SAM under a GradScaler: an overflow in either pass, and the step is not taken."""
    params = list(module.parameters())
    scale, good, skipped, norms = 2.0**117, 0, [], []
    for step in clf.trajectory_.schedule:
        assert step.loss_scale == scale
        w = nn.utils.parameters_to_vector(params).detach().clone()
        loss = Steep()(module(rows[step.indices]), codes[step.indices])
        g = flat_gradient(loss, params, scale)
        norms.append(0.0)
        if torch.isfinite(g).all():
            eps = 0.2 * (g / scale) / (g / scale).norm()
            norms[-1] = float(eps.norm())
            nn.utils.vector_to_parameters(w + eps, params)
            loss = Steep()(module(rows[step.indices]), codes[step.indices])
            g = flat_gradient(loss, params, scale)
        skipped.append(not bool(torch.isfinite(g).all()))
        nn.utils.vector_to_parameters(w if skipped[-1] else w - rate * g / scale, params)
        good = 0 if skipped[-1] else good + 1
        scale *= 0.5 if skipped[-1] else 2.0 if good == 2 else 1.0
        good %= 2
    return nn.utils.parameters_to_vector(params).detach(), skipped, norms


def test_an_overflow_under_a_scaler_is_a_step_not_taken():
    module = MLP(5, 3, n_hidden=7)
    clf = accelerated(grows_too_far(), module=module, lr=1e-4, **STEEP)
    expected, skipped, norms = scaled_by_hand(copy.deepcopy(module), clf, 1e-4)
    schedule = clf.trajectory_.schedule
    assert [step.skipped for step in schedule] == skipped
    assert 2 < sum(skipped) < len(skipped) - 2
    assert [step.perturbation_norm for step in schedule] == pytest.approx(norms, rel=1e-5)
    trained = clf.trajectory_.states[-1].params
    torch.testing.assert_close(trained, expected, rtol=0, atol=1e-5)
    for t, step in enumerate(schedule):
        before, after = clf.trajectory_.states[t : t + 2]
        assert torch.equal(before.params, after.params) == step.skipped


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_skipped_steps_are_replayed(optimizer):
    settings = {
        "momentum": {"optimizer__momentum": 0.9, "lr": 1e-4},
        "adam": {"optimizer": torch.optim.Adam, "lr": 0.01},
    }[optimizer]
    every = accelerated(grows_too_far(), **STEEP, **settings)
    few = accelerated(grows_too_far(), trajectory=1, **STEEP, **settings)
    assert sum(step.skipped for step in every.trajectory_.schedule) > 2
    scale = few.accelerator.scaler.get_scale()
    assert_same_states(few.replay(X, y), every.trajectory_.states)
    list(few.replay(X, y, stop=2))
    assert few.accelerator.scaler.get_scale() == scale  # the twin has a scaler of its own
    assert len(few.accelerator._optimizers) == 1


@pytest.mark.slow
def test_a_skipped_step_stays_skipped_where_it_would_not_overflow():
    """As on another device: replay goes by what was recorded."""
    every = accelerated(grows_too_far(), lr=1e-4, **STEEP)
    recorded = every.trajectory_
    recorded.schedule = [replace(step, loss_scale=1.0) for step in recorded.schedule]
    recorded.states = recorded.states[:1]
    *_, last = every.replay(X, y)
    whole = accelerated(grows_too_far(), lr=1e-4, **STEEP).trajectory_.states[-1]
    torch.testing.assert_close(last.params, whole.params, rtol=0, atol=1e-5)


def test_the_schedule_on_disk_knows_skipped_steps(tmp_path):
    clf = accelerated(grows_too_far(), lr=1e-4, trajectory_dir=tmp_path, **STEEP)
    read = schedule_of(from_bytes(to_bytes(schedule_as_data(clf.trajectory_.schedule))))
    for step, its_twin in zip(read, clf.trajectory_.schedule, strict=True):
        assert (step.indices == its_twin.indices).all()
        assert replace(step, indices=None) == replace(its_twin, indices=None)
    assert sum(step.skipped for step in read) > 2


def test_skipped_steps_move_no_score():
    """GIF at every step counts the steps that were taken, and only the rows in them."""
    clf = accelerated(grows_too_far(121), lr=1e-4, max_epochs=1, criterion=Steep)
    problem = problem_from_estimator(clf, X, y)
    taken = [step for step in clf.trajectory_.schedule if not step.skipped]
    assert 0 < len(taken) < clf.trajectory_.n_steps
    assert problem.visited.nonzero()[:, 0].tolist() == sorted(
        row for step in taken for row in step.indices.tolist()
    )
    np.testing.assert_array_equal(
        plain_rates(problem.path).table[:, 0],
        [0.0 if s.skipped else 1e-4 for s in clf.trajectory_.schedule],
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_on_cuda_follows_the_wide_run(precision):
    """Within what half precision can tell, replayed, and scored in float32."""
    accelerator = accelerate.Accelerator(mixed_precision=precision)
    settings = {**SETTINGS, "module": MLP(5, 3, n_hidden=7), "callbacks__print_log__sink": print}
    clf = Accelerated(accelerator=accelerator, **settings).fit(X, y)
    settings.pop("callbacks__print_log__sink")
    wide = SAMClassifier(device="cuda", **settings).fit(X, y)
    taken = [not step.skipped for step in clf.trajectory_.schedule]
    assert sum(taken) > len(taken) - 5
    if all(taken):
        params = [net.trajectory_.states[-1].params for net in (clf, wide)]
        torch.testing.assert_close(*params, rtol=0, atol=2e-2)
        assert not torch.equal(*params)
    for state, its_twin in zip(clf.replay(X, y), clf.trajectory_.states, strict=True):
        torch.testing.assert_close(state.params, its_twin.params)
    problem = problem_from_estimator(clf, X, y)
    assert problem.params.dtype == torch.float32
    assert problem.logits(problem.params, problem.buffers, problem.X).dtype == torch.float32
