"""What retraining says: the recorded steps on plain torch, in float64, with a weight per row."""

import copy
from collections import namedtuple
from functools import partial

import numpy as np
import torch
from torch import nn

from sam_attribution._seeding import draw_seed
from sam_attribution.training import batch_schedule, derived_seed
from tests.zoo.explicit import seed_step
from tests.zoo.settings import ROWS

Step = namedtuple("Step", "rows rate rho settings")
Plan = namedtuple("Plan", "start buffers steps seed")


class NotSmooth(Exception):
    """Two differences of unlike width do not agree, so there is no derivative to compare with."""


def recorded_plan(explicit):
    trajectory = explicit.net.trajectory_
    first = trajectory.states[0]
    steps = [
        Step(torch.as_tensor(s.indices), s.rates[0], s.rho, s.settings[0])
        for s in trajectory.schedule
    ]
    return Plan(first.params.double(), explicit._buffers(first), steps, trajectory.seed)


def further_plan(explicit, method):
    trajectory = explicit.net.trajectory_
    seed = derived_seed(draw_seed(method.random_state), 0)
    size = max(len(step.indices) for step in trajectory.schedule)
    rate = float(np.mean([step.rates[0] for step in trajectory.schedule]))
    group = explicit.net.optimizer_.param_groups[0]
    settings = {k: v for k, v in group.items() if k not in ("params", "lr", "initial_lr")}
    steps = [
        Step(torch.as_tensor(batch), rate, explicit.rho, settings)
        for epoch in range(method.n_epochs)
        for batch in batch_schedule(explicit.n, size, epoch, seed)
    ]
    return Plan(explicit.w, explicit.buffers, steps, seed)


def trained(explicit, plan, s):
    """Parameters and buffers after the steps with row weights s."""
    module = copy.deepcopy(explicit.module).train()
    params = [p for p in module.parameters() if p.requires_grad]
    nn.utils.vector_to_parameters(plan.start, params)
    for name, buffer in module.named_buffers():
        buffer.data.copy_(plan.buffers[name])
    optimizer = type(explicit.net.optimizer_)(params, lr=0.0)
    for number, step in enumerate(plan.steps):
        optimizer.param_groups[0].update(step.settings, lr=step.rate)
        seed = partial(seed_step, plan.seed, number)
        _one_step(explicit, module, params, optimizer, step, seed, s)
    w = torch.cat([p.detach().reshape(-1) for p in params])
    return w, {name: b.detach().clone() for name, b in module.named_buffers()}


def _one_step(explicit, module, params, optimizer, step, seed, s):
    def loss():
        seed()
        losses = explicit.values(
            explicit.criterion, module(explicit.X[step.rows]), explicit.y[step.rows]
        )
        return (s * explicit.a)[step.rows] @ losses / explicit.weight_of(step.rows)

    gradients = torch.autograd.grad(loss(), params, allow_unused=True, materialize_grads=True)
    g = torch.cat([part.reshape(-1) for part in gradients])
    w = torch.cat([p.detach().reshape(-1) for p in params])
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    if step.rho:
        nn.utils.vector_to_parameters(w + explicit.eps(w, g, step.rho), params)
    optimizer.zero_grad()
    loss().backward()
    nn.utils.vector_to_parameters(w, params)
    for name, buffer in module.named_buffers():  # one pass moves them
        buffer.data.copy_(buffers[name])
    if explicit.draw.clipping == "norm":
        nn.utils.clip_grad_norm_(params, 0.3)
    if explicit.draw.clipping == "value":
        nn.utils.clip_grad_value_(params, 0.05)
    optimizer.step(lambda: None)  # the gradient is there already


def value_of(explicit, plan, s):
    with torch.random.fork_rng(devices=[]):
        w, buffers = trained(explicit, plan, s)
    with torch.no_grad():
        return float(explicit.query(w, buffers))


def ones(explicit):
    return torch.ones(explicit.n, dtype=torch.float64)


def minus_derivative(explicit, plan, s, k):
    """Minus the derivative in the weight of row k, by central differences of two widths."""
    found = []
    for h in (1e-4, 1e-5):
        ends = []
        for sign in (1, -1):
            moved = s.clone()
            moved[k] += sign * h
            ends.append(value_of(explicit, plan, moved))
        found.append((ends[1] - ends[0]) / (2 * h))
    if abs(found[0] - found[1]) > 1e-3 * max(map(abs, found)) + 1e-9:
        raise NotSmooth
    return found[0]


def _some_rows(explicit, value_of_row):
    scores = torch.full((explicit.n,), torch.nan, dtype=torch.float64)
    for k in ROWS if explicit.own_row is None else (explicit.own_row,):
        scores[k] = value_of_row(k)
    return scores


def unrolled_scores(explicit, method, given):
    plan, s = recorded_plan(explicit), ones(explicit)
    return _some_rows(explicit, lambda k: minus_derivative(explicit, plan, s, k)), 1


def integrated_scores(explicit, method, given):
    """Simpson's rule over the weight of the row's group."""
    plan = recorded_plan(explicit)
    generator = torch.Generator().manual_seed(method.random_state)
    shuffled = torch.randperm(explicit.n, generator=generator)
    groups = shuffled.tensor_split(method.n_groups)

    def integral(k):
        (group,) = (group for group in groups if k in group)
        total = 0.0
        for weight, share in ((1.0, 1 / 6), (0.5, 4 / 6), (0.0, 1 / 6)):
            s = ones(explicit)
            s[group] = weight
            total += share * minus_derivative(explicit, plan, s, k)
        return total

    return _some_rows(explicit, integral), 1


def _rises(explicit, plan):
    before = value_of(explicit, plan, ones(explicit))

    def rise(k):
        s = ones(explicit)
        s[k] = 0.0
        return value_of(explicit, plan, s) - before

    return _some_rows(explicit, rise)


def left_out_scores(explicit, method, given):
    return _rises(explicit, recorded_plan(explicit)), 10


def further_scores(explicit, method, given):
    return _rises(explicit, further_plan(explicit, method)), 10


def fixed_point_scores(explicit, method, given):
    """Newton's method on ``F(w) = grad L_s(w + eps) + decay w``, by dense matrices."""
    start = _root(explicit, explicit.w, ones(explicit))
    before = float(explicit.query(start, explicit.buffers).detach())

    def rise(k):
        s = ones(explicit)
        s[k] = 0.0
        root = _root(explicit, start, s)
        return float(explicit.query(root, explicit.buffers).detach()) - before

    return _some_rows(explicit, rise), 1e4


def _root(explicit, w, s):
    def loss(w):
        losses = explicit.losses(w, explicit.buffers, torch.arange(explicit.n))
        return (s * explicit.a) @ losses / explicit.total

    def F(w):
        leaf = w if w.requires_grad else w.clone().requires_grad_()
        (g,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        point = leaf + explicit.eps(leaf, g) if explicit.rho else leaf
        (at_point,) = torch.autograd.grad(loss(point), point, create_graph=True)
        return at_point + explicit.decay * leaf

    w = w.detach()
    for _ in range(50):
        value = F(w).detach()
        if value.norm() < 1e-12:
            return w
        J = torch.autograd.functional.jacobian(F, w)
        w = w - torch.linalg.solve(J, value)
    raise NotSmooth
