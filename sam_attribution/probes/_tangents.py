"""Logits and their derivatives along parameter directions: forward mode, no row gradients."""

import torch
from torch.autograd import forward_ad
from torch.func import functional_call


def logits_and_tangents(problem, probe, X):
    """One pass over rows `X` at a probe's point.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
    tangents : Tensor of shape (n, n_classes, k)
        Derivatives of the logits along ``probe.directions``.

    Notes
    -----
    About 2.5 forward passes and the memory of one, per direction. With `problem.head` one
    forward pass serves all directions.
    """
    if problem.head is not None and _within(probe.directions, problem.selected):
        named = problem.layout.unflatten(probe.point)
        logits, features = problem.head.features(named, probe.buffers, X)
        return logits, problem.head.tangents(features, probe.directions)
    passes = [_jvp(problem, probe, direction, X) for direction in probe.directions.T]
    return passes[0][0], torch.stack([tangent for _, tangent in passes], dim=2)


def _jvp(problem, probe, direction, X):
    """Logits and their derivative along one flat direction, by dual numbers."""
    tangents = problem.layout.unflatten(direction)
    with torch.no_grad(), forward_ad.dual_level():
        params = {
            name: forward_ad.make_dual(value, tangents[name]) if tangents[name].any() else value
            for name, value in problem.layout.unflatten(probe.point).items()
        }
        output = functional_call(problem.module, (params, probe.buffers), (X,))
        logits, tangent = forward_ad.unpack_dual(output)
        return logits, torch.zeros_like(logits) if tangent is None else tangent


def _within(directions, selected):
    """Whether the directions vanish outside the `selected` entries."""
    return bool(torch.count_nonzero(directions) == torch.count_nonzero(directions[selected]))
