"""Gradients of some training rows together."""

import torch

from sam_attribution.problem._in_output import loss_in_output


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
        in_logits = loss_in_output(problem.row_loss, logits, problem.y[part])
        total += problem.head.gradient(features, problem.weights[part, None] * in_logits)
    return total
