"""Logits and their derivatives along parameter directions, without row gradients."""

from sam_attribution.probes._modes import tangent_mode
from sam_attribution.problem import differentiable_kernels


def logits_and_tangents(problem, probe, X):
    """One pass over rows `X` at a probe's point.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
    tangents : Tensor of shape (n, n_classes, k)
        Derivatives of the logits along ``probe.directions``.

    Notes
    -----
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
