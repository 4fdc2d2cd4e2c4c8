"""The effect of an edit on the outputs for the validation rows."""

import torch

from sam_attribution._rows import part_of
from sam_attribution._warnings import warn
from sam_attribution.editing._state import outputs, state_after

_LINEAR = 0.5  # largest nonlinearity that is trusted
_SHARE, _SLACK = 0.5, 0.1  # of the prediction and of the value, that the rise may be off
_ROWS = 128  # on which the nonlinearity is measured


def edit_report(queries, before, step, predicted_rise, *, verified=False):
    """Compare the first step of a Tangent with half of it, and its effect with the predicted one.

    `queries` has the validation rows as one query, `before` the outputs of the model for them;
    `predicted_rise` is NaN if nothing is predicted. In the dict that is returned, `step_length` is
    relative to the weights, and `value` is that before the edit. It warns if the nonlinearity is
    above 0.5, or if rise and prediction differ by more than half of the predicted rise and a tenth
    of the value together, and names what `verified` edits say.

    Cost: a forward pass over the validation rows, and another over at most 128 of them, evenly
    spaced, for the nonlinearity.
    """
    problem, some = queries.problem, slice(None, None, -(-len(queries.y) // _ROWS))
    after = outputs(problem, *state_after(problem, step, 0), queries.X)
    half = outputs(problem, *state_after(problem, step, 0, 0.5), part_of(queries.X, some))
    if not torch.isfinite(after).all():
        raise ValueError(
            "the edited model's outputs are not finite: the predicted step is too long. Remove "
            "fewer rows, or train again without them."
        )
    values = [float(queries.evaluation(z, queries.y).mean()) for z in (before, after)]
    report = {
        "step_length": float(step.params[0].norm() / problem.params.norm()),
        "nonlinearity": nonlinearity(before[some], half, after[some]),
        "value": values[0],
        "predicted_rise": predicted_rise,
        "rise": values[1] - values[0],
    }
    if reasons := [*_reasons(report)]:
        warn(
            f"the edit leaves the range in which it can be trusted: {'; '.join(reasons)}. Remove "
            "fewer rows at once, take another method, or train again without them; "
            f"{'verification_' if verified else 'verify='} says how far off edits of this size are."
        )
    return report


def nonlinearity(start, half, end):
    """``2 ||end - 2 half + start|| / ||end - start||``: share of a movement that is not linear.

    `start`, `half` and `end` are outputs without the step, after half of it, and after all of it.
    The share is 0 on a straight line, 1 where the second order alone moves them.

    Notes
    -----
    The step is the first order of a removal. Where it moves the outputs far from a straight line,
    the orders that were left out are of the size of the first one.

    Examples
    --------
    >>> import torch
    >>> line = torch.tensor([[1.0, 2.0]])
    >>> nonlinearity(0 * line, 0.5 * line, line), nonlinearity(0 * line, 0.25 * line, line)
    (0.0, 1.0)
    """
    moved = float((end - start).norm())
    return 2 * float((end - 2 * half + start).norm()) / moved if moved else 0.0


def _reasons(report):
    """Reasons against an edit, as phrases."""
    if report["nonlinearity"] > _LINEAR:
        yield (
            f"along the step, {report['step_length']:.2g} of the weights long, "
            f"{report['nonlinearity']:.0%} of the movement of the validation outputs is curved (at "
            f"most {_LINEAR:.0%} is trusted)"
        )
    value, predicted, rise = (report[name] for name in ("value", "predicted_rise", "rise"))
    if abs(rise - predicted) > _SHARE * abs(predicted) + _SLACK * abs(value):
        yield (
            f"the validation value, {value:.3g}, rises by {rise:.3g} where {predicted:.3g} was "
            "predicted"
        )
