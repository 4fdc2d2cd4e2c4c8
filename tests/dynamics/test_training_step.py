import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from sam_attribution.dynamics import SGD, Adam, TrainingState, sam_gradient, training_step
from sam_attribution.parameters import ParameterLayout
from sam_attribution.perturbation import PNorm, as_perturbation
from sam_attribution.training import SAMClassifier

torch.manual_seed(0)
X = torch.randn(40, 5, dtype=torch.float64)
y = torch.randint(3, (40,))
weight = torch.rand(40, dtype=torch.float64)


NETWORK = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
W = ParameterLayout(NETWORK).vector_of(NETWORK)
BUFFERS = dict(NETWORK.named_buffers())
ONES = torch.ones(12, dtype=torch.float64)


def batch_loss(module, rows, sample_weight=None):
    """Loss of the module on a batch, as the dynamics want it."""
    layout = ParameterLayout(module)
    a = torch.ones(len(rows), dtype=torch.float64) if sample_weight is None else sample_weight[rows]

    def loss(params, buffers, row_weights):
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        logits = functional_call(module, layout.unflatten(params) | buffers, (X[rows],))
        losses = cross_entropy(logits, y[rows], reduction="none")
        return (row_weights * a * losses).sum() / a.sum(), buffers

    return loss


OPTIMIZERS = [
    SGD(),
    SGD(weight_decay=0.05),
    SGD(momentum=0.9, weight_decay=0.05),
    SGD(momentum=0.9, dampening=0.3),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.05),
    Adam(),
    Adam(betas=(0.8, 0.9), eps=1e-3, weight_decay=0.05),
    Adam(weight_decay=0.5, decoupled=True),
]


def settings(optimizer):
    options = {f"optimizer__{name}": value for name, value in vars(optimizer).items()}
    if isinstance(optimizer, SGD):
        return options | {"lr": 0.2}
    decoupled = options.pop("optimizer__decoupled")
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    return options | {"optimizer": kind, "lr": 0.02}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize(
    ("perturbation", "rho"), [("l2", 0.0), ("l2", 0.2), ("linf", 0.02), ("adaptive", 0.2)]
)
@pytest.mark.parametrize("sample_weight", [None, weight], ids=["even", "weighted"])
def test_repeated_steps_are_training(optimizer, perturbation, rho, sample_weight):
    module = NETWORK
    clf = SAMClassifier(
        module, rho=rho, perturbation=perturbation, max_epochs=3, batch_size=16,
        random_state=0, dtype="float64", trajectory="all", **settings(optimizer),
    ).fit(X, y, sample_weight=sample_weight)  # fmt: skip
    recorded = clf.trajectory_
    # Adam divides the rounding of a gradient that is 0 (a bias before batch norm) by its eps
    tolerance = 1e-9 if getattr(optimizer, "eps", 1) < 1e-6 else 1e-12
    state = TrainingState(recorded.states[0].params, recorded.states[0].buffers)
    for step, after in zip(recorded.schedule, recorded.states[1:], strict=True):
        state = training_step(
            batch_loss(module, step.indices, sample_weight), state,
            torch.ones(len(step.indices), dtype=torch.float64), *step.rates,
            perturbation=as_perturbation(perturbation), rho=rho, optimizer=optimizer,
        )  # fmt: skip
        torch.testing.assert_close(state.params, after.params, atol=tolerance, rtol=0)
        torch.testing.assert_close(state.buffers, after.buffers, atol=tolerance, rtol=0)
    assert (state.params - recorded.states[0].params).norm() > 0.1


def tracking_loss(params, buffers, row_weights):
    """A network whose buffer depends on everything (torch's own batch norm detaches its)."""
    hidden = torch.tanh(X[:12] @ params[:20].view(5, 4))
    losses = cross_entropy(hidden @ params[20:].view(4, 3), y[:12], reduction="none")
    mean = 0.9 * buffers["mean"] + 0.1 * (row_weights @ hidden) / 12
    return (row_weights * losses).mean(), {"mean": mean}


def momentum_step(params, velocity, mean, row_weights):
    after = training_step(
        tracking_loss, TrainingState(params, {"mean": mean}, (velocity,)), row_weights, 0.2,
        perturbation=PNorm(2), rho=0.3, optimizer=SGD(0.9, nesterov=True, weight_decay=0.1),
    )  # fmt: skip
    return after.params, *after.memory, after.buffers["mean"]


def adam_step(decoupled, params, first, second, mean, row_weights):
    memory = (torch.tensor(3.0, dtype=torch.float64), first, second**2 + 0.1)
    after = training_step(
        tracking_loss, TrainingState(params, {"mean": mean}, memory), row_weights, 0.2,
        perturbation=PNorm(2), rho=0.3, optimizer=Adam(weight_decay=0.1, decoupled=decoupled),
    )  # fmt: skip
    return after.params, *after.memory[1:], after.buffers["mean"]


STEPS = {
    "momentum": (momentum_step, (32, 32, 4, 12)),
    "adam": (partial(adam_step, False), (32, 32, 32, 4, 12)),
    "adamw": (partial(adam_step, True), (32, 32, 32, 4, 12)),
}


def random_point(sizes):
    return tuple(torch.randn(n, dtype=torch.float64) for n in sizes)


@pytest.mark.parametrize("name", STEPS)
def test_derivatives_equal_finite_differences(name):
    one_step, sizes = STEPS[name]
    point, direction = random_point(sizes), random_point(sizes)
    _, exact = torch.func.jvp(one_step, point, direction)
    h = 1e-5
    ahead = one_step(*(p + h * d for p, d in zip(point, direction, strict=True)))
    behind = one_step(*(p - h * d for p, d in zip(point, direction, strict=True)))
    for e, a, b in zip(exact, ahead, behind, strict=True):
        torch.testing.assert_close(e, (a - b) / (2 * h), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_reverse_mode_is_the_transpose_of_forward_mode(name):
    one_step, sizes = STEPS[name]
    point, direction = random_point(sizes), random_point(sizes)
    _, out = torch.func.jvp(one_step, point, direction)
    cotangent = tuple(torch.randn_like(part) for part in out)
    _, pull = torch.func.vjp(one_step, *point)
    leaves = [part.clone().requires_grad_() for part in point]
    by_autograd = torch.autograd.grad(one_step(*leaves), leaves, cotangent)
    forward = sum((c * o).sum() for c, o in zip(cotangent, out, strict=True))
    for back in (pull(cotangent), by_autograd):
        reverse = sum((b * d).sum() for b, d in zip(back, direction, strict=True))
        torch.testing.assert_close(forward, reverse)


def test_the_perturbation_follows_the_row_weights():
    """Both passes see the weights: with the ascent held fixed the derivative is another."""
    loss = batch_loss(NETWORK, torch.arange(12))
    removed = torch.eye(12, dtype=torch.float64)[0]

    def gradient(rho, row_weights):
        return sam_gradient(loss, W, BUFFERS, row_weights, PNorm(2), rho)[0]

    _, full = torch.func.jvp(lambda s: gradient(0.3, s), (ONES,), (removed,))
    g = gradient(0.0, ONES)
    moved = W + 0.3 * g / g.norm()
    fixed = torch.func.grad(lambda w: loss(w, BUFFERS, removed)[0])(moved)
    assert (full - fixed).norm() > 1e-2 * fixed.norm()


def test_nothing_given_is_changed():
    given = (W, ONES, *BUFFERS.values())
    before = copy.deepcopy(given)
    state = TrainingState(W, BUFFERS, (torch.zeros_like(W),))
    loss, optimizer = batch_loss(NETWORK, torch.arange(12)), SGD(momentum=0.9)
    training_step(loss, state, ONES, 0.2, perturbation=PNorm(), rho=0.3, optimizer=optimizer)
    assert all(map(torch.equal, before, given))
    assert (state.memory[0] == 0).all()


def test_weight_decay_may_differ_between_parameters():
    params, gradient = torch.ones(3), torch.zeros(3)
    decay = torch.tensor([0.0, 0.1, 0.2])
    after, memory = SGD(weight_decay=decay).update(params, (), gradient, rate=0.5)
    torch.testing.assert_close(after, torch.tensor([1.0, 0.95, 0.9]))
    assert memory == ()


def test_entries_that_never_had_a_gradient_have_finite_derivatives():
    """sqrt has an infinite slope at 0, where the second moment of a dead unit stays."""
    gradient = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def after(scale):
        return Adam().update(torch.ones(2, dtype=torch.float64), (), scale * gradient, 0.1)[0]

    one = torch.tensor(1.0, dtype=torch.float64)
    _, tangent = torch.func.jvp(after, (one,), (one,))
    assert tangent[1] == 0
    assert torch.isfinite(tangent).all()
    torch.testing.assert_close(torch.func.jacrev(after)(one), tangent)


def test_a_module_with_backward_hooks_is_trained_as_one_without():
    hooked = copy.deepcopy(NETWORK)
    hooked[3].register_full_backward_hook(lambda *_: None)  # which torch.func does not know
    state = W.clone().requires_grad_(), BUFFERS, ONES.clone().requires_grad_()
    plain, by_hooks = (
        sam_gradient(batch_loss(net, torch.arange(12)), *state, as_perturbation("l2"), 0.1)[0]
        for net in (NETWORK, hooked)
    )
    torch.testing.assert_close(by_hooks, plain, rtol=0, atol=0)
    expected, found = (
        torch.autograd.grad(g.sin().sum(), (state[0], state[2])) for g in (plain, by_hooks)
    )
    torch.testing.assert_close(found, expected)
    gradient, after = sam_gradient(
        batch_loss(hooked, torch.arange(12)), W, BUFFERS, ONES, as_perturbation("l2"), 0.1
    )
    assert not any(part.requires_grad for part in (gradient, *after.values()))
