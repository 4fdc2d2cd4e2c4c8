"""Scores of the rows that matter most, replaced by their true effects."""

from sam_attribution._warnings import warn

FEWEST_LEFT_OUT = 4  # a single row is fitted exactly by its slope


def check_refinement(influence, method):
    """Raise a ValueError if ``refine`` or ``calibrate`` cannot do what they are asked for."""
    if influence.calibrate and not influence.refine:
        raise ValueError(
            "calibrate=True measures the slope on the rows that refine leaves out, got "
            f"refine={influence.refine}. Set refine=10."
        )
    if influence.refine and influence.aggregate != "mean":
        raise ValueError(
            "refine measures the rise of the mean over the validation rows, and aggregate="
            f'{influence.aggregate!r} has another unit. Use aggregate="mean" with it.'
        )
    if influence.refine and influence.refine < FEWEST_LEFT_OUT:
        raise ValueError(
            f"refine must be 0 or at least {FEWEST_LEFT_OUT}, got {influence.refine!r}: the "
            "effects of fewer rows say little about the others."
        )
    if influence.refine and not method.has_probes:
        raise ValueError(
            f"refine trains again without some rows, and method={influence.method!r} does so for "
            "every row that it scores. Leave refine at 0."
        )
    if influence.refine and not method.answers_queries:
        raise ValueError(
            f"refine measures effects on the validation rows, and method={influence.method!r} "
            "scores each row by its own loss. Leave refine at 0."
        )


def check_unit(prepared, *, calibrate):
    """Raise a ValueError if effects would stand among scores of another size."""
    if not (calibrate or prepared.differentiates_training):
        raise ValueError(
            "refine would mix measured effects with scores of another size (see "
            "diagnostics_['scale']), which changes the order. Set calibrate=True, which scales "
            'the scores to the effects, or use method="unrolled".'
        )


def refined(scores, table, y, left_out, *, calibrate):
    """Scores (n,) and table (n, n_classes) or None, with the effects of the rows left out.

    With `calibrate` the other scores are multiplied by the slope of the rows left out. A ValueError
    if a training without a row diverged.
    """
    if not left_out.effects.isfinite().all():
        raise ValueError(
            "refine cannot measure the effects of some rows, because training without them is "
            "not finite. Lower lr, or leave refine at 0."
        )
    factor = left_out.slope if calibrate else 1.0
    if not factor > 0:
        warn(
            "calibrate=True has no effect: no positive factor fits the scores to the measured "
            "effects of the rows that were left out. diagnose() shows all checks."
        )
        factor = 1.0
    effects = left_out.effects.to(scores)
    scores = (factor * scores).index_put((left_out.rows,), effects)
    if table is not None:
        table = (factor * table).index_put((left_out.rows, y[left_out.rows]), effects)
    return scores, table
