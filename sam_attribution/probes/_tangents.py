"""Logits and their derivatives along parameter directions, without row gradients."""

from dataclasses import replace

import torch
from torch.autograd import forward_ad

from sam_attribution._rows import single_rows
from sam_attribution.dynamics import check_differentiable_again
from sam_attribution.probes._layer_rules import LayerRules
from sam_attribution.probes._row_norms import jacobians_row_by_row
from sam_attribution.problem import (
    FirstThatWorks,
    differentiable_kernels,
    flat_call,
    forward_mode_as_backward,
)


def logits_and_tangents(problem, probe, X):
    """Logits (n, n_classes) of `X` at a probe's point and their derivatives (n, n_classes, k).

    About 2.5 forward passes and the memory of one, per direction, where the module has
    forward mode. With `problem.head` one forward pass serves all directions.
    """
    if problem.head is not None and within(probe.directions, problem.selected):
        named = problem.layout.unflatten(probe.point)
        logits, features = problem.head.features(named, probe.buffers, X)
        return logits, problem.head.tangents(features, probe.directions)
    with differentiable_kernels(problem.module):
        return tangent_mode(problem, probe)(problem, probe, X)


def within(directions, selected):
    """True if the directions vanish outside the `selected` entries, or `selected` is None."""
    return bool(directions.count_nonzero() == directions[selected].count_nonzero())


def tangent_mode(problem, probe):
    """The first of ``MODES`` that works on one row of the problem; it is then used for all."""

    def attempt(mode):
        one = replace(probe, directions=torch.ones_like(probe.point)[:, None])
        mode(problem, one, problem.X[:1])

    return _WAYS.of(problem, attempt)


def forward_mode(problem, probe, X):
    """Dual numbers: about 2.5 forward passes per direction, the memory of one."""
    passes = [_dual_pass(problem, probe, direction, X) for direction in probe.directions.T]
    return passes[0][0], torch.stack([tangent for _, tangent in passes], dim=2)


def double_backward(problem, probe, X):
    """``J v`` as the derivative of ``J'u`` in u: about 6 forward passes, backward memory."""
    leaf = probe.point.detach().requires_grad_()
    with torch.enable_grad():
        logits = problem.logits(leaf, probe.buffers, X)
        u = torch.zeros_like(logits, requires_grad=True)
        pulled = torch.autograd.grad(logits, leaf, u, create_graph=True)[0]
        check_differentiable_again(pulled)
        tangents = [
            torch.autograd.grad(pulled, u, direction, retain_graph=True)[0]
            for direction in probe.directions.T
        ]
    return logits.detach(), torch.stack(tangents, dim=2)


def tangents_from_jacobians(problem, probe, X):
    """Products with the gradient of every logit of every row: any trainable module has these."""
    logits, tangents = [], []
    for row in single_rows(X):
        z, jacobian = jacobians_row_by_row(problem, probe, row)
        logits.append(z)
        tangents.append(jacobian @ probe.directions)
    return torch.cat(logits), torch.cat(tangents)


def _dual_pass(problem, probe, direction, X):
    tangents = problem.layout.unflatten(direction)
    with forward_ad.dual_level(), LayerRules(), forward_mode_as_backward():
        params = {
            name: forward_ad.make_dual(value, tangents[name]) if tangents[name].any() else value
            for name, value in problem.layout.unflatten(probe.point).items()
        }
        output = flat_call(problem.module, (params, probe.buffers), X)
        logits, tangent = forward_ad.unpack_dual(output)
        return logits, torch.zeros_like(logits) if tangent is None else tangent


MODES = (forward_mode, double_backward, tangents_from_jacobians)
_WAYS = FirstThatWorks("differentiated along a direction", *MODES)
