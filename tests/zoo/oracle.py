"""The score of every method by the formula alone, from the trained weights and the recorded run.

``expected(explicit, method, given)`` returns scores (n_samples,), NaN where the method leaves rows
out, and the relative error that float64 arithmetic or the method's own solver may have. `given` are
the diagnostics: what the method chose by itself (damping) is taken from there.
"""

import copy
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from sam_attribution.linalg import Arnoldi, CountSketch, LiSSA
from sam_attribution.methods import (
    EKFAC,
    GIF,
    HIF,
    TRAK,
    DataInf,
    GradCos,
    GradDot,
    InfluenceFunction,
    IntegratedUnrolled,
    RelatIF,
    SelfInfluence,
    TracIn,
    Unrolled,
    UnrolledSegments,
)
from sam_attribution.retraining import FixedPoint, FurtherTraining, LeaveOneOut
from tests.zoo.explicit import NotChecked, dense_hessian
from tests.zoo.kronecker import kronecker_scores
from tests.zoo.retraining import (
    fixed_point_scores,
    further_scores,
    integrated_scores,
    left_out_scores,
    unrolled_scores,
)


def expected(explicit, method, given):
    return _RULES[type(method)](explicit, method, given)


def _masked(explicit, vectors):
    return vectors * explicit.attributed()


def _row_point(explicit, method):
    w = explicit.w
    return w if method.at == "w" else explicit.ascended(w, explicit.buffers)


def _grad_dot(explicit, method, given):
    v = _masked(explicit, explicit.query_gradient(explicit.w, explicit.buffers))
    G = explicit.row_gradients(_row_point(explicit, method), explicit.buffers)
    return explicit.a / explicit.total * (G @ v), 1


def _grad_cos(explicit, method, given):
    v = _masked(explicit, explicit.query_gradient(explicit.w, explicit.buffers))
    G = _masked(explicit, explicit.row_gradients(_row_point(explicit, method), explicit.buffers))
    norms = G.norm(dim=1) * v.norm()
    return torch.where(norms == 0, 0.0, G @ v / torch.where(norms == 0, 1.0, norms)), 1


# --- along the run ---


def _stretches(explicit, n_checkpoints):
    """First step, middle and end of each stretch."""
    if n_checkpoints == "recorded":
        recorded = explicit.draw.trajectory
        n_checkpoints = 10 if recorded == "all" else recorded
    n_steps = len(explicit.net.trajectory_.schedule)
    edges = np.linspace(0, n_steps, min(n_checkpoints, n_steps) + 1).round().astype(int).tolist()
    return [(a, (a + b) // 2, b) for a, b in pairwise(edges)]


def _path_sum(explicit, n_checkpoints, at, query, rates):
    if n_checkpoints is None:
        return _every_step(explicit, at, query, rates)
    states, total = explicit.states, torch.zeros(explicit.n, dtype=torch.float64)
    for first, middle, last in _stretches(explicit, n_checkpoints):
        w, buffers, _ = states[middle]
        point = w if at == "w" else explicit.step_point(w, buffers, middle)
        v = _asked(explicit, query, w, buffers)
        products = explicit.row_gradients(point, buffers) @ _masked(
            explicit, sum(rates[first:last]) * v
        )
        total += explicit.a / explicit.total * products
    return total, 1


def _every_step(explicit, at, query, rates):
    """The same with every row in its own batches, as training went."""
    states, total = explicit.states, torch.zeros(explicit.n, dtype=torch.float64)
    for number, rate in enumerate(rates):
        w, buffers, _ = states[number]
        point = w if at == "w" else explicit.step_point(w, buffers, number)
        rows, G = explicit.step_row_gradients(point, buffers, number)
        v = _masked(explicit, rate * _asked(explicit, query, w, buffers))
        total[rows] += explicit.a[rows] / explicit.weight_of(rows) * (G @ v)
    return total, 1


def _segments(explicit, method, given):
    """Backwards in merged steps with dense Hessians; all rows once a stretch."""
    a = explicit.query_gradient(explicit.w, explicit.buffers)
    m, rates, n = torch.zeros_like(a), plain_rates(explicit), method.n_merged
    total = torch.zeros(explicit.n, dtype=torch.float64)
    for first, middle, last in reversed(_stretches(explicit, "recorded")):
        w, buffers, _ = explicit.states[middle]
        summed = torch.zeros_like(a)
        for end in range(last, first, -n):
            start = max(first, end - n)
            H, settings = _hessian_of_step(explicit, w, buffers, start + (end - start) // 2)
            mu = max(settings["momentum"] ** n, 0.8)
            share = (1 - settings["dampening"]) * (1 - mu) / (1 - settings["momentum"])
            b = m - share * sum(rates[start:end]) * a
            a, m, summed = a + H @ b + settings["weight_decay"] * b, mu * b, summed + b
        G = explicit.row_gradients(w, buffers)
        total -= explicit.a / explicit.total * (G @ summed)
    return total, 1


def _hessian_of_step(explicit, w, buffers, number):
    """Hessian of a step's batch in training mode at `w`, and the optimizer's settings there."""

    def mean(w):
        rows, losses = explicit.step_losses(w, buffers, number)
        return explicit.a[rows] @ losses / explicit.weight_of(rows)

    last = explicit.net.optimizer_.param_groups[0]
    return dense_hessian(mean, w), last | explicit.net.trajectory_.schedule[number].settings[0]


def _asked(explicit, query, w, buffers):
    at_end = query == "final"
    return explicit.query_gradient(
        explicit.w if at_end else w, explicit.buffers if at_end else buffers
    )


def plain_rates(explicit):
    return [s.rates[0] * s.gradient_factor for s in explicit.net.trajectory_.schedule]


def effective_rates(explicit):
    """Length of the way that a unit gradient at each step has made by the end, by trying it."""
    if isinstance(explicit.net.optimizer_, torch.optim.SGD):
        return _rates_by_sgd(explicit.net.trajectory_.schedule)
    return _rates_by_adam(explicit)


def _rates_by_sgd(schedule):
    rates = []
    for t, step in enumerate(schedule):
        w = torch.zeros(1, dtype=torch.float64)
        optimizer = torch.optim.SGD([w], lr=0.0)
        for tau, other in enumerate(schedule):
            optimizer.param_groups[0].update(other.settings[0], lr=other.rates[0])
            w.grad = torch.full_like(w, float(t == tau))
            optimizer.step()
        rates.append(-float(w) * step.gradient_factor)
    return rates


def _rates_by_adam(explicit):
    """The same with the recorded second moments."""
    schedule, states = explicit.net.trajectory_.schedule, explicit.states
    steps = [_adam_step(explicit, states[t + 1][2], t + 1, s) for t, s in enumerate(schedule)]
    rates = []
    for t, first in enumerate(schedule):
        w, m = torch.zeros_like(explicit.w), torch.zeros_like(explicit.w)
        for tau in range(t, len(schedule)):
            group, decoupled = schedule[tau].settings[0], _is_decoupled(explicit, schedule[tau])
            decay, beta = group["weight_decay"], group["betas"][0]
            g = float(t == tau) + (0 if decoupled else decay) * w
            m = beta * m + (1 - beta) * g
            w = w * (1 - (schedule[tau].rates[0] * decay if decoupled else 0)) - steps[tau] * m
        rates.append(-w * first.gradient_factor)
    return rates


def _is_decoupled(explicit, step):
    adamw = isinstance(explicit.net.optimizer_, torch.optim.AdamW)
    return step.settings[0].get("decoupled_weight_decay", adamw)


def _adam_step(explicit, after, count, step):
    group = step.settings[0]
    beta1, beta2 = group["betas"]
    name = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    parts = []
    for number, p in enumerate(explicit.module.parameters()):
        if not p.requires_grad:
            continue
        entries = after.optimizer["state"].get(number)
        if not entries:
            parts.append(torch.zeros(p.numel(), dtype=torch.float64))
            continue
        root = (entries[name].double().flatten() / (1 - beta2**count)).sqrt() + group["eps"]
        parts.append(step.rates[0] / ((1 - beta1**count) * root))
    return torch.cat(parts)


def _gif(explicit, method, given):
    rates = plain_rates(explicit) if method.rates == "plain" else effective_rates(explicit)
    return _path_sum(explicit, method.n_checkpoints, "w+eps", method.query, rates)


def _tracin(explicit, method, given):
    rates = plain_rates(explicit)
    return _path_sum(explicit, method.n_checkpoints, method.at, "checkpoint", rates)


def _self_influence(explicit, method, given):
    states, rates = explicit.states, plain_rates(explicit)
    total = torch.zeros(explicit.n, dtype=torch.float64)
    for first, middle, last in _stretches(explicit, method.n_checkpoints):
        w, buffers, _ = states[middle]
        point = w if method.at == "w" else explicit.step_point(w, buffers, middle)
        G = _masked(explicit, explicit.row_gradients(point, buffers))
        total -= sum(rates[first:last]) * explicit.a / explicit.total * G.square().sum(1)
    return total, 1


# --- inverses ---

_CURVATURES = {"hessian": "hessian", "ggn": "gauss_newton", "fisher": "fisher"}


def _jacobian(explicit, method, variant, w, rows=None, blocks="none"):
    """J, and a function that makes every row's c_k, at w."""
    buffers, curve = explicit.buffers, getattr(explicit, _CURVATURES[method.curvature])
    g = explicit.mean_gradient(w, buffers, rows)
    point = w + explicit.eps(w, g) if explicit.rho else w
    H_eps = _blocked(explicit, curve(point, buffers, rows), blocks)
    decay = explicit.decay * torch.eye(len(w), dtype=w.dtype)
    if variant == "fast" or explicit.rho == 0:
        return H_eps + decay, explicit.row_gradients(point, buffers)
    D, E = explicit.derivatives_of_eps(w, g)
    H, one = curve(w, buffers, rows), torch.eye(len(w), dtype=w.dtype)
    C = explicit.row_gradients(point, buffers)
    if variant == "paper":
        return (H_eps + decay) @ (one + D @ H), C
    C = C + explicit.row_gradients(w, buffers) @ (H_eps @ D).T
    return H_eps @ (one + D @ H + E) + decay, C


def _blocked(explicit, matrix, blocks):
    if blocks == "none":
        return matrix
    owners = [
        name.rpartition(".")[0]
        for name in explicit.shapes
        for _ in range(explicit.shapes[name].numel())
    ]
    same = torch.tensor([[a == b for b in owners] for a in owners])
    return matrix * same


def _hif(explicit, method, given):
    return _by_inverse(explicit, method, method.variant, given)


def _batches(explicit):
    steps = explicit.net.trajectory_.schedule
    size = len(steps) // explicit.draw.epochs
    return [torch.as_tensor(step.indices) for step in steps[-size:]]


def _by_inverse(explicit, method, variant, given, blocks="none"):
    batches = _batches(explicit) if getattr(method, "ascent", "full") == "batch" else [None]
    w, S = explicit.w, explicit.attributed()
    parts = [_jacobian(explicit, method, variant, w, rows, blocks) for rows in batches]
    J = sum(J for J, _ in parts) / len(parts)
    J = J[S][:, S] + float(given["damping"]) * torch.eye(int(S.sum()), dtype=w.dtype)
    if not method.stationary:
        F = (
            sum(
                explicit.mean_gradient(
                    explicit.ascended(w, explicit.buffers, rows), explicit.buffers, rows
                )
                for rows in batches
            )
            / len(batches)
            + explicit.decay * w
        )
        moved = w.clone()
        moved[S] -= torch.linalg.solve(J, F[S])
        parts = [_jacobian(explicit, method, variant, moved, rows, blocks) for rows in batches]
    v = explicit.query_gradient(w, explicit.buffers)[S]
    u = torch.linalg.solve(J.T, v)
    scores = torch.zeros(explicit.n, dtype=torch.float64)
    for rows, (_, C) in zip(batches, parts, strict=True):
        at = torch.arange(explicit.n) if rows is None else rows
        share = explicit.a[at] / explicit.weight_of(at)
        scores[at] += share * (C[at][:, S] @ u) / len(batches)
    return scores, _slack(method, J)


def _slack(method, matrix):
    if isinstance(method.solver, LiSSA):
        raise NotChecked("a random series has an answer of its own")
    if isinstance(method.solver, Arnoldi) and len(matrix) > method.solver.n_steps:
        raise NotChecked("a subspace is not everything")
    return float(torch.linalg.cond(matrix))


def _influence_function(explicit, method, given):
    at = explicit
    if method.at == "w":
        at = _without_sam(explicit)
    return _by_inverse(at, method, "fast", given, method.blocks)


def _without_sam(explicit):
    plain = copy.copy(explicit)
    plain.rho = 0.0
    return plain


def _relatif(explicit, method, given):
    influence = method.influence or InfluenceFunction()
    plain, S = _without_sam(explicit), explicit.attributed()
    H, G = _jacobian(plain, influence, "fast", explicit.w)
    H = H[S][:, S] + float(given["damping"]) * torch.eye(int(S.sum()), dtype=H.dtype)
    v, G = explicit.query_gradient(explicit.w, explicit.buffers)[S], G[:, S]
    solved = torch.linalg.solve(H, G.T).T
    squares = (G * solved).sum(1) if method.normalize == "loss" else solved.square().sum(1)
    size = squares.sqrt()
    scores = torch.where(size == 0, 0.0, solved @ v / torch.where(size == 0, 1.0, size))
    return scores, float(torch.linalg.cond(H))


def _datainf(explicit, method, given):
    v = explicit.query_gradient(explicit.w, explicit.buffers)
    G = explicit.row_gradients(_row_point(explicit, method), explicit.buffers)
    plain = G / torch.where(explicit.v == 0, 1.0, explicit.v)[:, None]
    share = explicit.a * explicit.v / explicit.total
    u, S = torch.zeros_like(v), explicit.attributed()
    for span in explicit.spans().values():
        if not S[span].any():
            continue
        g = plain[:, span]
        d = 0.1 * float(share @ g.square().mean(1)) if method.damping == "auto" else method.damping
        along = share * (g @ v[span]) / (d + g.square().sum(1))
        u[span] = (v[span] - along @ g) / d
    return explicit.a / explicit.total * (G @ u), 10


def _trak(explicit, method, given):
    models = [(explicit.w, explicit.buffers)]
    if method.n_checkpoints is not None:
        states = explicit.states
        stretches = _stretches(explicit, method.n_checkpoints)
        models = [states[middle][:2] for _, middle, _ in stretches]
    generator = torch.Generator().manual_seed(method.random_state or 0)
    scores, worst = torch.zeros(explicit.n, dtype=torch.float64), 1.0
    for w, buffers in models:
        P = _projection(explicit, method, generator)
        gram = (_margin_gram if explicit.draw.n_classes else _output_gram)(
            explicit, method, w, buffers, P
        )
        ridge = 0.1 * gram.diagonal().mean() if method.ridge == "auto" else method.ridge
        gram = gram + ridge * torch.eye(len(gram), dtype=gram.dtype)
        v = P.T @ _masked(explicit, explicit.query_gradient(w, buffers))
        u = P @ torch.linalg.solve(gram, v)
        G = _masked(explicit, explicit.row_gradients(w, buffers))
        scores += explicit.a * (G @ u) / len(models)
        worst = max(worst, float(torch.linalg.cond(gram)))
    return scores, worst


def _margin_gram(explicit, method, w, buffers, P):
    """``Phi' R Phi``, Phi the projected gradients of the rows' margins."""
    margins = [partial(explicit.own_margin, buffers=buffers, k=k) for k in range(explicit.n)]
    Phi = _masked(explicit, torch.stack([explicit.gradient(each, w) for each in margins])) @ P
    shares = explicit.a * explicit.v
    if method.weighted:
        p = torch.stack([each(w) for each in margins]).detach().sigmoid()
        shares = shares * p * (1 - p)
    return Phi.T @ (shares[:, None] * Phi)


def _output_gram(explicit, method, w, buffers, P):
    """The same with the gradients of the one number that a regression puts out."""
    if method.weighted:
        return P.T @ (explicit.total * explicit.gauss_newton(w, buffers)) @ P
    J = torch.cat([explicit.output_jacobian(w, buffers, k) for k in range(explicit.n)])
    Phi = _masked(explicit, J) @ P
    return Phi.T @ (explicit.a[:, None] * Phi)


def _projection(explicit, method, generator):
    """A matrix (n_params, proj_dim): the very sketch that the method draws."""
    if method.proj_dim is None:
        S = explicit.attributed()
        return torch.eye(len(explicit.w), dtype=torch.float64)[:, S]
    n_rows = int((explicit.a > 0).sum())
    size = max(1, n_rows // 2) if method.proj_dim == "auto" else method.proj_dim
    sketch = CountSketch(explicit.w, size, generator)
    return sketch.project(torch.eye(len(explicit.w), dtype=torch.float64))


_RULES = {
    GradDot: _grad_dot,
    GradCos: _grad_cos,
    GIF: _gif,
    TracIn: _tracin,
    SelfInfluence: _self_influence,
    HIF: _hif,
    InfluenceFunction: _influence_function,
    RelatIF: _relatif,
    DataInf: _datainf,
    TRAK: _trak,
    EKFAC: kronecker_scores,
    Unrolled: unrolled_scores,
    UnrolledSegments: _segments,
    IntegratedUnrolled: integrated_scores,
    LeaveOneOut: left_out_scores,
    FurtherTraining: further_scores,
    FixedPoint: fixed_point_scores,
}
