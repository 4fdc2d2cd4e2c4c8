"""Checks that parameters, losses and query gradients are finite, where each is first seen."""

import torch

from sam_attribution._overflow import REMEDY_FOR_OVERFLOW


def check_parameters_are_finite(layout, params):
    """Raise a ValueError that names the parameters with NaN or infinity."""
    finite = torch.isfinite(params)
    if not finite.all():
        names = [name for name, span in layout.slices.items() if not finite[span].all()]
        raise ValueError(
            f"module has NaN or infinity in its parameters {names}: its training diverged, so "
            f"there is nothing to attribute. {REMEDY_FOR_OVERFLOW}."
        )


def check_losses_are_finite(problem):
    """Raise a ValueError if a row trained on has a loss that is not finite; one forward pass."""
    rows = problem.weights.nonzero()[:, 0]
    with torch.no_grad():
        losses = [_losses(problem, part) for part in problem.chunks(rows)]
    bad = rows[~torch.isfinite(torch.cat([rows.new_zeros(0), *losses]))]
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(rows)} rows trained on have a loss that is not finite, the first "
            f"at position {_given_position(problem, bad[0])}: the training diverged, or X holds "
            f"values too large for {str(problem.params.dtype).removeprefix('torch.')}. "
            f"{REMEDY_FOR_OVERFLOW}."
        )


def check_gradients_are_finite(gradients):
    """Raise a ValueError if a query's gradient, a row of `gradients`, is not finite."""
    n_bad = int((~torch.isfinite(gradients).all(1)).sum())
    if n_bad:
        raise ValueError(
            f"the gradients of {n_bad} of {len(gradients)} queries to the model are not finite: "
            "weights are so large that derivatives overflow, or the validation rows hold values "
            f"too large. {REMEDY_FOR_OVERFLOW}."
        )


def _losses(problem, rows):
    X, y = problem.batch(rows)
    return problem.row_loss.per_sample(problem.logits(problem.params, problem.buffers, X), y)


def _given_position(problem, row):
    return int(row if problem.positions is None else problem.positions[row])
