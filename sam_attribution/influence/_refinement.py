"""Scores of the rows that matter most, replaced by their true effects."""

from sam_attribution._warnings import warn


def check_refinement(influence, method):
    """Raise a ValueError if ``refine`` or ``calibrate`` cannot do what they are asked for."""
    if influence.calibrate and not influence.refine:
        raise ValueError(
            "calibrate=True takes the slope from the rows that are left out for refine, and "
            f"refine={influence.refine}. Set refine=10."
        )
    if influence.refine and influence.aggregate != "mean":
        raise ValueError(
            "refine measures the rise of the mean over the validation rows, and aggregate="
            f'{influence.aggregate!r} has another unit. Use aggregate="mean" with it.'
        )
    if influence.refine and not method.has_probes:
        raise ValueError(
            f"refine trains again without some rows, and method={influence.method!r} does so for "
            "every row that it scores. Leave refine at 0."
        )


def refined(scores, table, y, left_out, *, calibrate):
    """Scores (n,) and table (n, n_classes) or None, with the effects of the rows left out.

    With `calibrate` the other scores are multiplied by the slope of the rows left out.
    """
    factor = left_out.slope if calibrate else 1.0
    if not factor > 0:
        warn(
            "calibrate=True changes nothing: the effects of the rows that were left out contradict "
            "their scores. diagnose() says more."
        )
        factor = 1.0
    effects = left_out.effects.to(scores)
    scores = (factor * scores).index_put((left_out.rows,), effects)
    if table is not None:
        table = (factor * table).index_put((left_out.rows, y[left_out.rows]), effects)
    return scores, table
