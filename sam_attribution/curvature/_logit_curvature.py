"""Curvatures of each row's loss in its logits: products with a matrix per row."""

import torch

from sam_attribution.problem import loss_in_output


def loss_curvature(problem, logits, rows):
    """Products with the Hessian of each row's weighted loss in its logits.

    A function from tangents of shape (n, n_classes) to back-signals of that shape.
    """

    def loss(z):
        return problem.weights[rows] @ problem.row_loss.per_sample(z, problem.y[rows])

    # symmetric, so that reverse mode will do, which more losses have
    curved = torch.func.vjp(torch.func.grad(loss), logits)[1]
    return lambda tangents: curved(tangents)[0]


def gradient_products(problem, logits, rows):
    """Products with ``a_i r_i r_i' / v_i``, r_i the gradient of row i's loss in its logits.

    v_i is the weight of the row's class, which r_i has as well: in a second moment it counts once,
    as a sample weight does. The rest is as for :func:`loss_curvature`.
    """
    r = loss_in_output(problem.row_loss, logits, problem.y[rows])
    sizes = problem.class_sizes[rows]
    once = torch.where(sizes == 0, 0.0, problem.weights[rows] / torch.where(sizes == 0, 1.0, sizes))
    weighted = once[:, None] * r
    return lambda tangents: weighted * (r * tangents).sum(1, keepdim=True)
