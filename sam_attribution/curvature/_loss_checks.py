"""Checks of a loss as a function of the module's output, before a Gauss-Newton matrix is made."""

from functools import partial

import torch

from sam_attribution.curvature._logit_curvature import gradient_with_graph
from sam_attribution.problem import CrossEntropyRows, spread_positions
from sam_attribution.training import criterion_name

_N_ROWS = 8
_N_OUTPUTS = 32  # of a row that are looked at: a part of a convex matrix is convex
_SCALES = (0.1, 1.0, 10.0)
_RELATIVE, _ROUNDING = 1e-6, 1e-12  # in float64


def check_loss_curves(problem):
    """Raise a ValueError that names the criterion if it has no second derivative in torch."""
    rows = torch.zeros(1, dtype=torch.long, device=problem.y.device)
    output = _outputs(problem, rows)
    try:
        _curvature(problem.row_loss, output, problem.y[rows])
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"criterion {_name(problem)} has no second derivative in torch "
            f"({str(error).splitlines()[0]}). Use another criterion, "
            'InfluenceFunction(curvature="fisher"), or a method without curvature, such as "gif".'
        ) from error


def check_gauss_newton(problem):
    """Raise a ValueError for a criterion whose Gauss-Newton matrix is negative somewhere, or 0.

    It is tried on a few rows, at the outputs of the module and at others, by autodiff: what bends
    at none of them, or bends downwards at one, is refused.
    """
    check_loss_curves(problem)
    if isinstance(problem.row_loss, CrossEntropyRows):
        return
    row_loss, tried = problem.row_loss.in_double_precision(), list(_tried(problem))
    values = [_eigenvalues(_curvature(row_loss, *each)) for each in tried]
    for each in values:
        check_not_negative(problem, each)
    known = torch.cat(values)
    if len(known) and not known.any():
        raise ValueError(
            f"criterion {_name(problem)} is linear in the module's output wherever it was tried, "
            'so its Gauss-Newton matrix is 0. Use InfluenceFunction(curvature="fisher"), or a '
            'method without curvature, such as "gif".'
        )


def check_not_negative(problem, values):
    """Raise a ValueError that names the criterion if eigenvalues of its Hessians are negative."""
    if (values < -_RELATIVE * _largest(values) - _ROUNDING).any():
        raise ValueError(
            f"criterion {_name(problem)} is not convex in the module's output, so its "
            "Gauss-Newton matrix is not positive semi-definite. Use "
            "InfluenceFunction(solver=GMRES()), which uses the Hessian."
        )


def _largest(values):
    return float(values.abs().max()) if values.numel() else 0.0


def _name(problem):
    return criterion_name(problem.row_loss.criterion)


def _outputs(problem, rows):
    with torch.no_grad():
        return problem.logits(problem.params, problem.buffers, problem.X[rows])


def _tried(problem):
    """Pairs of outputs and targets in float64: the module's own, and noise around 0 or targets."""
    rows = spread_positions(len(problem.y), _N_ROWS).to(problem.y.device)
    own, y = _outputs(problem, rows).double(), problem.y[rows]
    y = y.double() if y.is_floating_point() else y
    centre = y.reshape(own.shape) if y.is_floating_point() and y.numel() == own.numel() else 0.0
    yield own, y
    generator = torch.Generator().manual_seed(0)
    for scale in _SCALES:
        noise = torch.randn(own.shape, generator=generator, dtype=torch.float64)
        yield centre + scale * noise.to(own.device), y


def _curvature(row_loss, output, y):
    """Second derivatives of each row's loss in some of its outputs, (n, m, m)."""
    gradient, leaf = gradient_with_graph(row_loss, output, y)
    some = spread_positions(output.shape[1], _N_OUTPUTS).tolist()
    if not gradient.requires_grad:
        return output.new_zeros(len(output), len(some), len(some))
    of = partial(torch.autograd.grad, inputs=leaf, retain_graph=True)
    return torch.stack([of(gradient[:, each].sum())[0][:, some] for each in some], dim=2)


def _eigenvalues(matrices):
    """All eigenvalues of the matrices that are finite."""
    finite = matrices[torch.isfinite(matrices).flatten(1).all(1)]
    return torch.linalg.eigvalsh(finite).flatten()
