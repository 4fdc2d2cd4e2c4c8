"""Curvature at the SAM point, relative to the largest that the learning rate allows."""

import torch

from sam_attribution.curvature import SAMPoint, sam_jacobian
from sam_attribution.linalg import NotFinite, extreme_eigenvalues


def extreme_curvature(problem, n_products=20):
    """Largest eigenvalue of the Hessian at ``w + eps``, and its distance from instability.

    Returns
    -------
    curvature : float
        Weight decay included; nats per squared unit of the weights.
    edge : float
        Median learning rate of the training times `curvature`, divided by the largest value for
        which gradient descent on a quadratic is stable: 2, with momentum ``2 (1 + momentum)``, with
        Nesterov's ``2 (1 + momentum) / (1 + 2 momentum)``. Above 1 a step overshoots by more than
        it corrects. NaN for optimizers other than SGD, and for a rate that is 0 or not known.

    Both are infinite if products with the Hessian overflow.

    Notes
    -----
    Cost: `n_products` times about four forward passes over the training rows, and two gradients.

    References
    ----------
    Cohen et al., Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability,
    arXiv:2103.00065.
    """
    jacobian = sam_jacobian(SAMPoint(problem), "fast")
    try:
        curvature = extreme_eigenvalues(jacobian, n_products).rightmost
    except NotFinite:
        return float("inf"), float("inf")
    rate = problem.path.usual_rate
    edge = curvature * rate / _stability_limit(problem.path)
    return curvature, edge if rate else float("nan")


def _stability_limit(path):
    """Rate times curvature beyond which descent on a quadratic diverges."""
    if not issubclass(path.optimizer, torch.optim.SGD):
        return float("nan")
    settings = path.group_settings[0]
    momentum = settings["momentum"]
    limit = 2 * (1 + momentum) / (1 - settings["dampening"])
    return limit / (1 + 2 * momentum) if settings["nesterov"] else limit
