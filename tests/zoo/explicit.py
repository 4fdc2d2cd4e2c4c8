"""A trained net in float64: losses, gradients and curvatures by autograd, a row at a time."""

import copy
import math
from functools import cached_property

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from sam_attribution.perturbation import Adaptive, PNorm
from tests.zoo.modules import copied
from tests.zoo.settings import CRITERIA, PERTURBATIONS


class NotChecked(Exception):
    """There is no explicit answer for this draw; the text says why."""


class Explicit:
    """The trained net of a draw, its rows and its validation rows.

    The module is the plain twin with the trained weights. ``rows`` of a mean are positions; every
    gradient is a flat vector of the trainable parameters, ``names`` in their order.
    """

    def __init__(self, draw, net, data):
        X, y, weight, X_val, y_val = data
        self.draw, self.net, self.data = draw, net, data
        twin = draw.kind.module(draw.seed, plain=True)
        self.module = copied(net.module_, twin.double()).eval()
        self.shapes = {n: p.shape for n, p in self.module.named_parameters() if p.requires_grad}
        trainable = (p for p in self.module.parameters() if p.requires_grad)
        self.w = torch.cat([p.detach().reshape(-1) for p in trainable])
        self.buffers = {n: b.clone() for n, b in self.module.named_buffers()}
        self.training_module = copy.deepcopy(self.module).train()
        self.X, self.y = self._tensors(X, y)
        self.X_val, self.y_val = self._tensors(X_val, y_val)
        self.a = torch.ones(len(y)) if weight is None else torch.as_tensor(weight)
        self.a = self.a.to(getattr(torch, draw.dtype)).double()
        criterion, arguments = CRITERIA[draw.criterion]
        self.criterion = criterion(**arguments(draw.n_classes) | {"reduction": "none"}).double()
        self.plain_criterion = copy.deepcopy(self.criterion)
        v = getattr(self.criterion, "weight", None)
        self.v = torch.ones(len(y)) if v is None else v[self.y]
        self.v = self.v.double()
        if v is not None:
            self.plain_criterion.weight = None
        self.own_row = None  # whose loss is asked, instead of the validation rows'
        self.rho = draw.rho
        self.decay = net.optimizer_.param_groups[0].get("weight_decay", 0.0)

    def _tensors(self, X, y):
        X, y = self.net.to_tensors(X, y)
        both = (part.double() if part.is_floating_point() else part for part in (X, y))
        return tuple(part.clone() for part in both)

    @property
    def n(self):
        return len(self.y)

    @property
    def total(self):
        return float((self.a * self.v).sum())

    def spans(self):
        """Slice of each parameter in the flat vector, by name."""
        ends = np.cumsum([shape.numel() for shape in self.shapes.values()])
        return {
            name: slice(int(end) - shape.numel(), int(end))
            for (name, shape), end in zip(self.shapes.items(), ends, strict=True)
        }

    def attributed(self):
        """Mask of the numbers that are attributed."""
        mask = torch.zeros(len(self.w), dtype=torch.bool)
        for name, span in self.spans().items():
            own = name.removeprefix("0.") if self.draw.kind.probabilities else name
            if self.draw.parameters == "head":
                mask[span] = own in ("head.weight", "head.bias")
            else:
                mask[span] = self.draw.attributed(own)
        return mask

    # --- losses ---

    def output(self, w, buffers, X):
        return functional_call(self.module, (self._named(w), buffers), (X,))

    def _named(self, w):
        return {name: w[span].view(self.shapes[name]) for name, span in self.spans().items()}

    def values(self, criterion, output, y):
        if self.draw.n_classes == 0:
            return criterion(output[:, 0], y)
        if self.draw.criterion == "bce":
            return criterion(output[:, 0], y.to(output))
        if self.draw.kind.probabilities:  # as skorch does
            output = torch.log(output + torch.finfo(getattr(torch, self.draw.dtype)).eps)
        return criterion(output, y)

    def losses(self, w, buffers, rows):
        output = self.output(w, buffers, self.X[rows])
        return self.values(self.criterion, output, self.y[rows])

    def mean_loss(self, w, buffers, rows=None):
        rows = torch.arange(self.n) if rows is None else rows
        return self.a[rows] @ self.losses(w, buffers, rows) / self.weight_of(rows)

    def weight_of(self, rows):
        return float((self.a * self.v)[rows].sum())

    def query(self, w, buffers):
        """What is asked: mean of the evaluation over the validation rows, or one row's loss."""
        if self.own_row is not None:
            return self.losses(w, buffers, torch.tensor([self.own_row]))[0]
        output = self.output(w, buffers, self.X_val)
        if self.draw.evaluation == "margin":
            return margin(self._logits(output), self.y_val).mean()
        return self.values(self.plain_criterion, output, self.y_val).mean()

    def _logits(self, output):
        if self.draw.criterion == "bce":  # one logit for two classes stands for (0, z)
            return torch.cat([torch.zeros_like(output), output], 1)
        eps = torch.finfo(getattr(torch, self.draw.dtype)).eps
        return torch.log(output + eps) if self.draw.kind.probabilities else output

    def own_margin(self, w, buffers, k):
        """``log p / (1 - p)`` of a training row."""
        output = self.output(w, buffers, self.X[k : k + 1])
        return -margin(self._logits(output), self.y[k : k + 1])[0]

    # --- a step of training ---

    def step_losses(self, w, buffers, number):
        """Losses of a step's rows in training mode, with the masks of the step."""
        trajectory = self.net.trajectory_
        rows = torch.as_tensor(trajectory.schedule[number].indices)
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        with torch.random.fork_rng(devices=[]):
            seed_step(trajectory.seed, number)
            output = functional_call(
                self.training_module, (self._named(w), buffers), (self.X[rows],)
            )
        return rows, self.values(self.criterion, output, self.y[rows])

    def step_point(self, w, buffers, number):
        """Where SAM took the gradient of a step: its own eps further."""
        rho = self.net.trajectory_.schedule[number].rho
        if rho == 0:
            return w

        def mean(w):
            rows, losses = self.step_losses(w, buffers, number)
            return self.a[rows] @ losses / self.weight_of(rows)

        return w + self.eps(w, self.gradient(mean, w), rho)

    def step_row_gradients(self, w, buffers, number):
        """Rows of a step, and the gradient of each one's loss in it."""
        rows = torch.as_tensor(self.net.trajectory_.schedule[number].indices)
        return rows, jacobian(lambda w: self.step_losses(w, buffers, number)[1], w)

    # --- derivatives ---

    def gradient(self, function, w):
        return jacobian(lambda w: function(w)[None], w)[0]

    def query_gradient(self, w, buffers):
        return self.gradient(lambda w: self.query(w, buffers), w)

    def mean_gradient(self, w, buffers, rows=None):
        return self.gradient(lambda w: self.mean_loss(w, buffers, rows), w)

    def row_gradients(self, w, buffers):
        """Gradient of every row's loss, (n, n_params), one backward pass each."""
        return jacobian(lambda w: self.losses(w, buffers, torch.arange(self.n)), w)

    def hessian(self, w, buffers, rows=None):
        return dense_hessian(lambda w: self.mean_loss(w, buffers, rows), w)

    def output_jacobian(self, w, buffers, k):
        """Derivative of the output for one row, (n_outputs, n_params)."""
        return jacobian(lambda w: self.output(w, buffers, self.X[k : k + 1])[0], w)

    def gauss_newton(self, w, buffers, rows=None):
        total = torch.zeros(len(w), len(w), dtype=w.dtype)
        rows = torch.arange(self.n) if rows is None else rows
        for k in rows.tolist():
            J = self.output_jacobian(w, buffers, k)
            z, y = self.output(w, buffers, self.X[k : k + 1]).detach(), self.y[k : k + 1]
            middle = dense_hessian(lambda z, y=y: self.values(self.criterion, z[None], y)[0], z[0])
            total += self.a[k] * J.T @ middle @ J
        return total / self.weight_of(rows)

    def fisher(self, w, buffers, rows=None):
        rows = torch.arange(self.n) if rows is None else rows
        G = self.row_gradients(w, buffers)[rows]
        share = self.a[rows] / torch.where(self.v[rows] == 0, 1.0, self.v[rows])
        return G.T @ (share[:, None] * G) / self.weight_of(rows)

    # --- SAM ---

    def eps(self, w, g, rho=None):
        return eps_of(PERTURBATIONS[self.draw.perturbation], w, g, self.rho if rho is None else rho)

    def derivatives_of_eps(self, w, g):
        """D = d eps / d g and E = d eps / d w as matrices; 0 for p > 2 where an entry of g is."""
        perturbation = PERTURBATIONS[self.draw.perturbation]
        p, zero = norm_of(perturbation), torch.zeros(len(w), len(w), dtype=w.dtype)
        if self.rho == 0 or p == math.inf or not g.any():
            return zero, zero
        if p is not None:
            return d_eps_d_g(p, g, self.rho), zero
        D = torch.autograd.functional.jacobian(lambda g: self.eps(w, g), g)
        return D, torch.autograd.functional.jacobian(lambda w: self.eps(w, g), w)

    def ascended(self, w, buffers, rows=None, rho=None):
        rho = self.rho if rho is None else rho
        return w if rho == 0 else w + self.eps(w, self.mean_gradient(w, buffers, rows), rho)

    # --- the recorded run ---

    @cached_property
    def states(self):
        """Parameters and buffers before every step and at the end, in float64."""
        X, y, weight, *_ = self.data
        return [
            (state.params.double(), self._buffers(state), state)
            for state in self.net.replay(X, y, sample_weight=weight)
        ]

    def _buffers(self, state):
        given = {name.replace("module.", "", 1): b for name, b in state.buffers.items()}
        return {
            name: given[name].double() if given[name].is_floating_point() else given[name]
            for name in self.buffers
        }


def seed_step(seed, number):
    """Put torch's stream where it is at a step of a training with that seed."""
    number = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    torch.default_generator.manual_seed(number)  # that of CUDA too would take most of a step


def margin(logits, y):
    own = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).logsumexp(1) - logits[own]


def jacobian(function, w):
    """Derivative of a vector, one backward pass per entry."""
    leaf = w.detach().clone().requires_grad_()
    with plain_kernels():
        return _rows_of_jacobian(function(leaf), leaf)


def dense_hessian(function, w):
    """One double backward pass per row of the matrix."""
    leaf = w.detach().clone().requires_grad_()
    with plain_kernels():
        (g,) = torch.autograd.grad(
            function(leaf), leaf, create_graph=True, allow_unused=True, materialize_grads=True
        )
        return _rows_of_jacobian(g, leaf)


def _rows_of_jacobian(values, leaf):
    if not values.requires_grad:
        return torch.zeros(len(values), len(leaf), dtype=leaf.dtype)
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    return torch.stack([torch.autograd.grad(each, leaf, **options)[0] for each in values])


def norm_of(perturbation):
    """The p of a p-norm, None for another ball."""
    if isinstance(perturbation, PNorm):
        return perturbation.p
    return {"l2": 2, "linf": math.inf}.get(perturbation)


def eps_of(perturbation, w, g, rho):
    """SAM's step as MATHS.md writes it: ``rho sign(g) (|g| / N)^(q - 1)``."""
    p = norm_of(perturbation)
    if not g.any():
        return torch.zeros_like(g)
    if p == math.inf:
        return rho * g.sign()
    if p is not None:
        q = p / (p - 1)
        N = (g.abs() ** q).sum() ** (1 / q)
        return rho * g.sign() * (g.abs() / N) ** (q - 1)
    if perturbation == "adaptive" or isinstance(perturbation, Adaptive):
        t = w.abs() + (0.01 if perturbation == "adaptive" else perturbation.eta)
        return rho * t**2 * g / (t * g).norm()
    return perturbation.eps(w, g, rho)


def d_eps_d_g(p, g, rho):
    """``((q - 1) / N) [rho diag((|g| / N)^(q - 2)) - eps eps' / rho]``."""
    q = p / (p - 1)
    N = (g.abs() ** q).sum() ** (1 / q)
    eps = eps_of(PNorm(p), None, g, rho)
    diagonal = (
        torch.where(g == 0, 0.0, (g.abs() / N) ** (q - 2)) if q < 2 else (g.abs() / N) ** (q - 2)
    )
    return (q - 1) / N * (rho * torch.diag(diagonal) - torch.outer(eps, eps) / rho)


def plain_kernels():
    return nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH)
