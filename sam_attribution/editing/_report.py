"""What an edit did to the outputs for the validation rows."""

import warnings

import torch

from sam_attribution.editing._bend import bend
from sam_attribution.editing._state import outputs, state_after

_STRAIGHT = 0.5


def edit_report(problem, queries, step):
    """Compare half of a step with all of it, on the validation rows.

    Parameters
    ----------
    problem : Problem
    queries : Queries
        The validation rows as one query.
    step : Tangent
        Of the trained state; the first of its k steps is looked at.

    Returns
    -------
    dict
        `step_length`: that of the step, relative to the weights; `bend`: see :func:`bend`;
        `rise`: of the query's value.

    Raises
    ------
    ValueError
        If what the edited model puts out is not finite.

    Warns
    -----
    UserWarning
        If the bend is above .5.

    Notes
    -----
    Three forward passes over the validation rows.
    """
    start, half, end = (
        outputs(problem, *state_after(problem, step, 0, size), queries.X) for size in (0, 0.5, 1)
    )
    if not torch.isfinite(end).all():
        raise ValueError(
            "the edited model's outputs are not finite: the predicted step is too long. Remove "
            "fewer rows, or train again without them."
        )
    before, after = (float(queries.evaluation(z, queries.y).mean()) for z in (start, end))
    report = {
        "step_length": float(step.params[0].norm() / problem.params.norm()),
        "bend": bend(start, half, end),
        "rise": after - before,
    }
    _warn_if_bent(report)
    return report


def _warn_if_bent(report):
    if report["bend"] > _STRAIGHT:
        warnings.warn(
            "the edit leaves the range in which the model is linear in its weights: along the step "
            f"(length {report['step_length']:.2g} of the weights) {report['bend']:.0%} of the "
            f"movement of the validation outputs is curved (at most {_STRAIGHT:.0%} is trusted); "
            f"the validation value rose by {report['rise']:.3g}. Remove fewer rows at once, or "
            "train again without them.",
            stacklevel=5,
        )
