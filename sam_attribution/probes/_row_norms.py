"""Norms of single rows' gradients, for every label, without holding the gradients of all rows."""

from types import SimpleNamespace

import torch
from torch.func import jacrev, vmap

from sam_attribution._row_source import each_tensor
from sam_attribution._rows import n_rows_in, rows_in, single_rows
from sam_attribution.problem import (
    FirstThatWorks,
    differentiable_kernels,
    gradients_of,
    loss_in_output,
)

_BYTES = 2**28  # that the logit Jacobians of one chunk of rows may take


def squared_row_norms(problem, probe, X, metric=None, y=None):
    """``sum(metric * gradient**2)`` of the row's loss at a probe's point, for each label.

    Only the parameters that the problem attributes count. `metric` (n_params,) is ones if None;
    shape (n, n_classes), or (n, 1) for the labels `y`.

    One forward pass with ``problem.head``. Otherwise a backward pass per row for the labels `y`;
    for each label one per row and class, in chunks whose Jacobians take 256 MiB each at most (one
    row at least; two are held): since the loss sees the parameters through the logits z,
    ``||grad l||**2 = dl/dz' (J J') dl/dz`` for every label.
    """
    metric = torch.ones_like(probe.point) if metric is None else metric
    metric = problem.restrict(metric[:, None])[:, 0]
    if problem.head is not None:
        return _of_head(problem, probe, X, metric, y)
    if y is not None or problem.n_classes is None:
        found = gradients_of(problem, probe.point, probe.buffers, X, y)
        return torch.cat([(gradients.square() @ metric)[:, None] for _, gradients in found])
    parts = _in_parts(problem, probe, X, y)
    return torch.cat([_quadratic(gradients, (J * metric) @ J.mT) for gradients, J in parts])


def check_row_norms(problem):
    """Raise a ValueError unless a row's gradient can be measured, for every label; one row."""
    probe = SimpleNamespace(point=problem.params, buffers=problem.buffers)
    y = problem.y[:1] if problem.n_classes is None else None
    squared_row_norms(problem, probe, problem.X[:1], y=y)


def measured_rows(problem, probe, X, measure, y=None):
    """Any number computed from the row's gradient at a probe's point, for each label.

    `measure` takes columns (n_params, m), each a gradient, zero outside the attributed parameters,
    and returns (m,). The rest is as for :func:`squared_row_norms`, passes too; the gradients of a
    chunk, one per label, are held as well.
    """
    measured = []
    for gradients in _gradients(problem, probe, X, y):
        columns = problem.restrict(gradients.flatten(0, 1).T)
        measured.append(measure(columns).view(gradients.shape[:2]))
    return torch.cat(measured)


def _gradients(problem, probe, X, y):
    """Rows' gradients for each label, (n, n_classes, n_params), some rows at a time."""
    if problem.head is None and problem.n_classes is None:
        found = gradients_of(problem, probe.point, probe.buffers, X, y)
        yield from (gradients[:, None] for _, gradients in found)
        return
    if problem.head is None:
        yield from (gradients @ J for gradients, J in _in_parts(problem, probe, X, y))
        return
    named = problem.layout.unflatten(probe.point)
    for rows in torch.arange(n_rows_in(X)).split(_rows_at_once(problem)):
        z, features = problem.head.features(named, probe.buffers, rows_in(X, rows))
        gradients = _logit_gradients(problem, z, None if y is None else y[rows])
        yield problem.head.row_gradients(features, gradients)


def _in_parts(problem, probe, X, y):
    """Gradients in the logits for each label, and the logits' Jacobians, some rows at a time."""
    with differentiable_kernels(problem.module):
        way = _WAYS.of(problem, lambda way: way(problem, probe, _tried(problem, X)))
        for rows in torch.arange(n_rows_in(X)).split(_rows_at_once(problem)):
            z, J = way(problem, probe, rows_in(X, rows))
            yield _logit_gradients(problem, z, None if y is None else y[rows]), J


def jacobians_by_vmap(problem, probe, X):
    """Logits and their Jacobians, (n, n_classes, n_params), by vmap."""

    def logits(params, row):
        one = each_tensor(lambda tensor: tensor[None], row)
        z = problem.logits(params, probe.buffers, one)[0]
        return z, z

    jacobian, z = vmap(jacrev(logits, has_aux=True), (None, 0))(probe.point, X)
    return z.detach(), jacobian.detach()


def jacobians_row_by_row(problem, probe, X):
    """The same for modules that vmap does not know."""
    leaf = probe.point.detach().requires_grad_()
    logits, jacobians = [], []
    for row in single_rows(X):
        with torch.enable_grad():
            z = problem.logits(leaf, probe.buffers, row)
        rows = [torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in z[0]]
        logits.append(z.detach())
        jacobians.append(torch.stack(rows))
    return torch.cat(logits), torch.stack(jacobians)


_WAYS = FirstThatWorks("differentiated logit by logit", jacobians_by_vmap, jacobians_row_by_row)


def _tried(problem, X):
    """A few rows, not as many as classes: of modules such as PReLU torch mixes up the two."""
    n_rows = 3 if problem.n_classes == 2 else 2
    return rows_in(X, torch.arange(n_rows) % n_rows_in(X))


def _rows_at_once(problem):
    per_row = (problem.n_classes or 1) * problem.layout.size * problem.params.element_size()
    return max(1, _BYTES // per_row)


def _quadratic(gradients, gram):
    """The quadratic form of every label's logit gradient; rounding may leave it below 0."""
    return torch.einsum("ncl,nlm,ncm->nc", gradients, gram, gradients).clamp_min(0)


def _of_head(problem, probe, X, metric, y):
    """Squared norms in the head, a product of squares as its gradients are ``g h'`` and ``g``."""
    logits, features = problem.head.features(
        problem.layout.unflatten(probe.point), probe.buffers, X
    )
    per_logit = problem.head.tangents(features.square(), metric[:, None])[:, :, 0]
    return (_logit_gradients(problem, logits, y).square() * per_logit[:, None]).sum(2)


def _logit_gradients(problem, logits, y):
    """``dl/dz`` for each label, (n, label, n_classes)."""
    gradients = loss_in_output(problem.row_loss, logits, y)
    return gradients if y is None else gradients[:, None]
