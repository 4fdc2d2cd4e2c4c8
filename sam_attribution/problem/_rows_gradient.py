"""Gradients of some training rows together."""

import torch


def rows_gradient(problem, params, buffers, rows):
    """``sum_i a_i grad l_i`` over `rows`, zero outside the attributed parameters, (n_params,).

    With ``problem.head`` one forward pass, otherwise a backward pass too.
    """
    if problem.head is None:
        gradient = problem.weight_of(rows) * problem.mean_gradient(params, buffers, rows)
        return problem.restrict(gradient[:, None])[:, 0]
    named = problem.layout.unflatten(params)
    total = torch.zeros_like(params)
    for part in problem.chunks(rows):
        logits, features = problem.head.features(named, buffers, problem.X[part])
        total += problem.head.gradient(features, _in_logits(problem, logits, part))
    return total


def _in_logits(problem, logits, rows):
    leaf = logits.requires_grad_()
    with torch.enable_grad():
        losses = problem.row_loss.per_sample(leaf, problem.y[rows])
        return torch.autograd.grad(problem.weights[rows] @ losses, leaf)[0]
