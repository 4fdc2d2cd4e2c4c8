"""Doubts about a linear step, from what it does to the outputs for the validation rows."""

from sam_attribution._rows import part_of
from sam_attribution._warnings import warn
from sam_attribution.editing._state import halfway, outputs

_LINEAR = 0.5  # largest nonlinearity that is trusted
_SHARE, _SLACK = 0.5, 0.1  # of the prediction and of the value, that the rise may be off
_ERRORS = 2  # standard errors of the rise, beyond which its sign is known
_OVERSHOT, _LEAST_OVERSHOT = 2.0, 1.0  # of the loss of unseen rows, and nats above it
_ROWS = 128  # on which the nonlinearity is measured


def nonlinearity_of(queries, before, state):
    """:func:`nonlinearity` of a step to a state, on at most 128 validation rows, evenly spaced.

    `before` are the outputs of the trained model for all of them. Costs two forward passes.
    """
    some = slice(None, None, -(-len(queries.y) // _ROWS))
    states = halfway(queries.problem, state), state
    half, after = (outputs(queries.problem, *s, part_of(queries.X, some)) for s in states)
    return nonlinearity(before[some], half, after)


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
    >>> ends = 0.5 * line, 0.25 * line
    >>> [nonlinearity(0 * line, end, line) for end in ends]
    [0.0, 1.0]
    """
    moved = float((end - start).norm())
    return 2 * float((end - 2 * half + start).norm()) / moved if moved else 0.0


def warn_of_nonlinearity(report, *, verified=False):
    """Warn once of a step that goes wrong, with all reasons; name what `verified` edits say.

    The reasons are a nonlinearity above 0.5; a rise that differs from the predicted one by more
    than half of it and a tenth of the value together, or that has the other sign and is above two
    standard errors; and, for a classifier, a loss of the removed rows above twice that of unseen
    rows and 1 nat more.
    """
    if reasons := [*_reasons(report)]:
        warn(
            f'the edit is too large for a linear step: {"; ".join(reasons)}. Use how="replay" '
            "if training was recorded, remove fewer rows at once, or train again without them (a "
            "given model: FurtherTraining(groups=[rows])). "
            f"{'verification_' if verified else 'verify='} shows the error of edits of this size."
        )


def _reasons(report):
    """Reasons against an edit, as phrases."""
    if report["nonlinearity"] > _LINEAR:
        yield (
            f"the step is {report['step_length']:.2g} times as long as the weights, and "
            f"{report['nonlinearity']:.0%} of the change of the validation outputs along it is "
            f"not linear (at most {_LINEAR:.0%} is trusted)"
        )
    value, predicted, rise = (report[name] for name in ("value", "predicted_rise", "rise"))
    is_off = abs(rise - predicted) > _SHARE * abs(predicted) + _SLACK * abs(value)
    is_opposite = rise * predicted < 0 and abs(rise) > _ERRORS * report["rise_error"]
    if is_off or is_opposite:
        yield (
            f"the validation value, {value:.3g}, rises by {rise:.3g} where {predicted:.3g} was "
            f"predicted{', the other sign' if is_opposite else ''}"
        )
    removed, unseen = report["removed_loss_after"], report["unseen_loss"]
    if "accuracy" in report and removed > _OVERSHOT * unseen + _LEAST_OVERSHOT:
        yield (
            f"the loss of the removed rows rises to {removed:.3g}, far above the {unseen:.3g} of "
            "rows never seen"
        )
