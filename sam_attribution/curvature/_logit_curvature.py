"""Curvatures of each row's loss in its logits: products with a matrix per row."""

import torch

from sam_attribution.dynamics import check_differentiable_again
from sam_attribution.problem import loss_in_output


def loss_curvature(problem, logits, rows):
    """Products with the Hessian of each row's weighted loss in its logits.

    A function from tangents of shape (n, n_classes) to back-signals of that shape.
    """
    gradient, leaf = gradient_with_graph(problem.row_loss, logits, problem.y[rows])
    if not gradient.requires_grad:  # the loss is linear in the logits
        return torch.zeros_like
    weights = problem.weights[rows, None]

    # symmetric, so that reverse mode will do, which more losses have
    def product(tangents):
        return torch.autograd.grad(gradient, leaf, weights * tangents, retain_graph=True)[0]

    return product


def loss_hessians(row_loss, output, y):
    """Hessian of each row's loss in its outputs (n, k), without weights: (n, k, k)."""
    gradient, leaf = gradient_with_graph(row_loss, output, y)
    if not gradient.requires_grad:
        return output.new_zeros(*output.shape, output.shape[1])
    columns = [
        torch.autograd.grad(part.sum(), leaf, retain_graph=True)[0] for part in gradient.unbind(1)
    ]
    return torch.stack(columns, dim=2)


def gradient_with_graph(row_loss, output, y):
    """Gradient of each row's loss in its outputs, with its graph, and the graph's leaf."""
    leaf = output.detach().requires_grad_()
    with torch.enable_grad():
        losses = row_loss.per_sample(leaf, y)
        gradient = torch.autograd.grad(losses.sum(), leaf, create_graph=True)[0]
    check_differentiable_again(gradient)
    return gradient, leaf


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
