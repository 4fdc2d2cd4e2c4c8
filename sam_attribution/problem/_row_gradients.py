"""Gradients of single rows, some rows at a time."""

import torch
from torch.func import grad, vmap

from sam_attribution.problem._kernels import differentiable_kernels

_BYTES = 2**28  # that the gradients held at once may take


def row_gradients(problem, point, per_sample=None, buffers=None):
    """Gradients of every training row at one point, in chunks of 256 MiB at most.

    Parameters
    ----------
    problem : Problem
    point : Tensor of shape (n_params,)
    per_sample : callable, optional
        ``(output, y) -> (n,)``, what to differentiate; the training loss if None.
    buffers : dict of str to Tensor, optional
        What evaluation mode reads there; by default those of the trained model.

    Yields
    ------
    rows : Tensor of positions, shape (m,)
    gradients : Tensor of shape (m, n_params)
        Without the rows' weights; zero outside the attributed parameters.

    Notes
    -----
    One forward and backward pass per row, batched by vmap where the module lets it.
    """
    per_sample = per_sample or problem.row_loss.per_sample
    buffers = problem.buffers if buffers is None else buffers
    at_once = max(1, _BYTES // (point.element_size() * problem.layout.size))

    def value(params, x, y):
        output = problem.logits(params, buffers, x[None])
        return per_sample(output, y[None])[0]

    batched, way = vmap(grad(value), (None, 0, 0)), None
    with differentiable_kernels(problem.module):
        for passed in problem.chunks(None):
            for rows in passed.split(at_once):
                way = way or _way_that_works(batched, value, problem, point)
                found = way(point, problem.X[rows], problem.y[rows])
                yield rows, problem.restrict(found.T).T


def _way_that_works(batched, value, problem, point):
    try:
        batched(point, problem.X[:1], problem.y[:1])
    except (RuntimeError, NotImplementedError):  # a module that vmap does not know
        return lambda params, X, y: _one_by_one(value, params, X, y)
    return batched


def _one_by_one(value, params, X, y):
    leaf, gradients = params.detach().requires_grad_(), []
    for x, label in zip(X, y, strict=True):
        with torch.enable_grad():
            gradients.append(torch.autograd.grad(value(leaf, x, label), leaf)[0])
    return torch.stack(gradients)
