"""What an edit did to the outputs for the validation rows."""

import warnings

import torch

from sam_attribution.editing._bend import bend
from sam_attribution.editing._state import outputs, state_after

_STRAIGHT = 0.5
_SHARE, _SLACK = 0.5, 0.1  # of the prediction and of the value, that the rise may be off
_ROWS = 128  # on which the bend is looked at


def edit_report(queries, before, step, predicted_rise):
    """Compare a step with half of it, and its effect with what was predicted.

    Parameters
    ----------
    queries : Queries
        The validation rows as one query.
    before : Tensor of shape (n, n_outputs)
        What the model puts out for them.
    step : Tangent
        Of the trained state; the first of its k steps is looked at.
    predicted_rise : float
        Of the query's value; NaN if nothing is predicted.

    Returns
    -------
    dict
        `step_length`: that of the step, relative to the weights; `bend`: see :func:`bend`;
        `value`: of the query, before; `predicted_rise` of it, and its `rise`.

    Raises
    ------
    ValueError
        If what the edited model puts out is not finite.

    Warns
    -----
    AttributionWarning
        If the bend is above .5, or rise and prediction are further apart than half of the
        predicted rise and a tenth of the value together.

    Notes
    -----
    A forward pass over the validation rows, and another over at most 128 of them, evenly spaced,
    for the bend.
    """
    problem, some = queries.problem, slice(None, None, -(-len(queries.y) // _ROWS))
    after = outputs(problem, *state_after(problem, step, 0), queries.X)
    half = outputs(problem, *state_after(problem, step, 0, 0.5), queries.X[some])
    if not torch.isfinite(after).all():
        raise ValueError(
            "the edited model's outputs are not finite: the predicted step is too long. Remove "
            "fewer rows, or train again without them."
        )
    values = [float(queries.evaluation(z, queries.y).mean()) for z in (before, after)]
    report = {
        "step_length": float(step.params[0].norm() / problem.params.norm()),
        "bend": bend(before[some], half, after[some]),
        "value": values[0],
        "predicted_rise": predicted_rise,
        "rise": values[1] - values[0],
    }
    if reasons := [*_reasons(report)]:
        warnings.warn(
            f"the edit leaves the range in which it can be trusted: {'; '.join(reasons)}. Remove "
            "fewer rows at once, take another method, or train again without them; verify= says "
            "how far off edits of this size are.",
            stacklevel=4,
        )
    return report


def _reasons(report):
    """What speaks against an edit, as phrases."""
    if report["bend"] > _STRAIGHT:
        yield (
            f"along the step, {report['step_length']:.2g} of the weights long, "
            f"{report['bend']:.0%} of the movement of the validation outputs is curved (at most "
            f"{_STRAIGHT:.0%} is trusted)"
        )
    value, predicted, rise = (report[name] for name in ("value", "predicted_rise", "rise"))
    if abs(rise - predicted) > _SHARE * abs(predicted) + _SLACK * abs(value):
        yield (
            f"the validation value, {value:.3g}, rises by {rise:.3g} where {predicted:.3g} was "
            "predicted"
        )
