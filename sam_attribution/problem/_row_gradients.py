"""Gradients of rows: each row's own, some rows at a time, and their weighted sum."""

import torch
from torch.func import grad, vmap

from sam_attribution._row_source import RowSource, each_tensor
from sam_attribution._rows import rows_in, single_rows
from sam_attribution.problem._autodiff_fallbacks import FirstThatWorks, differentiable_kernels
from sam_attribution.problem._functional_call import flat_call
from sam_attribution.problem._row_loss import gradient_in_output, loss_in_output

# That the gradients held at once may take. On a CPU more is slower: an MLP's 256 rows at once
# take five times as long as 64, as fresh memory has to come from the system each time
_BYTES = {"cpu": 3 * 2**23, "cuda": 2**28}


def row_gradients(problem, point, per_sample=None, buffers=None):
    """Yield positions (m,) of training rows and their gradients (m, n_params) at one point.

    Without the rows' weights; zero outside the attributed parameters. `per_sample`, (output, y) ->
    (n,), is what to differentiate, by default the training loss; `buffers` are those at the point,
    by default those of the trained model. Two forward passes and a backward pass per row, batched
    by vmap where the module lets it, in chunks of 24 MiB (CUDA: 256 MiB) at most.
    """
    buffers = problem.buffers if buffers is None else buffers
    for passed in problem.chunks(None):
        X, y = problem.batch(passed)
        for rows, gradients in gradients_of(problem, point, buffers, X, y, per_sample):
            yield passed[rows], problem.restrict(gradients.T).T


def gradients_of(problem, point, buffers, X, y, per_sample=None):
    """Gradients as of :func:`row_gradients`, for any rows and buffers, in all parameters.

    `X` is a batch, or a source of which some rows at a time are read.
    """
    for rows in torch.arange(len(y), device=y.device).split(rows_at_once(problem)):
        # by a call: a name for them here would keep them in memory while the generator waits
        yield rows, _of_chunk(problem, point, buffers, _some_of(X, rows), y[rows], per_sample)


def _some_of(X, rows):
    return X[rows] if isinstance(X, RowSource) else rows_in(X, rows)


def rows_at_once(problem):
    """Rows whose gradients are formed together."""
    budget = _BYTES.get(problem.params.device.type, _BYTES["cuda"])
    at_once = budget // (problem.params.element_size() * problem.layout.size)
    return max(1, min(problem.rows_per_pass, at_once))


def summed_gradient(problem, params, buffers, rows):
    """Weighted sum of rows' gradients, ``sum_i a_i grad l_i`` over `rows`, shape (n_params,).

    Zero outside the attributed parameters. Costs one forward pass with ``problem.head``, otherwise
    a backward pass too.
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


def unused_parameters(problem):
    """Names of parameters that no output of a first pass depends on, whatever their values."""
    named, rows = problem.layout.unflatten(problem.params), problem.chunks(None)[0]
    leaves = {name: value.detach().requires_grad_() for name, value in named.items()}
    with torch.enable_grad():
        output = flat_call(problem.module, (leaves, problem.buffers), problem.X[rows])
    found = torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
    return {name for name, each in zip(leaves, found, strict=True) if each is None}


def gradients_by_vmap(problem, point, buffers, X, in_output):
    """Gradients (n, n_params) of rows with the derivatives `in_output` in their output, by vmap."""

    def along(params, row, gradient):
        one = each_tensor(lambda tensor: tensor[None], row)
        return problem.logits(params, buffers, one)[0] @ gradient

    return vmap(grad(along), (None, 0, 0))(point.detach(), X, in_output)


def gradients_row_by_row(problem, point, buffers, X, in_output):
    """The same for modules that vmap does not know."""
    leaf, gradients = point.detach().requires_grad_(), []
    for row, gradient in zip(single_rows(X), in_output, strict=True):
        with torch.enable_grad():
            value = problem.logits(leaf, buffers, row)[0] @ gradient
        gradients.append(torch.autograd.grad(value, leaf)[0])
    return torch.stack(gradients)


_WAYS = FirstThatWorks("differentiated row by row", gradients_by_vmap, gradients_row_by_row)


def _of_chunk(problem, point, buffers, X, y, per_sample):
    with differentiable_kernels(problem.module):
        with torch.no_grad():
            output = problem.logits(point, buffers, X)
        if per_sample is None:
            in_output = loss_in_output(problem.row_loss, output, y)
        else:
            in_output = gradient_in_output(per_sample, output, y)
        # vmap fails with some modules only if there are several rows
        two = rows_in(X, [0, -1]), in_output[[0, -1]]
        way = _WAYS.of(problem, lambda way: way(problem, point, buffers, *two))
        return way(problem, point, buffers, X, in_output)
