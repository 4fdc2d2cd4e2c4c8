"""The checks of ``diagnostics_`` in words: their meaning for the scores, and advice."""

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill

import pandas as pd

from sam_attribution._tables import significant
from sam_attribution.diagnosis._remedies import (
    AS_TRAINED,
    AVERAGE,
    DECAYING,
    EVERY_STEP,
    FOR_SIZE,
    LARGER_BATCHES,
    MEASURE_ROWS,
    OTHER_METHOD,
    OTHER_RATE_OR_RADIUS,
    PREDICTION,
    REFINE,
    REFINE_AND_SCALE,
    SCALE_FEATURES,
    SCALE_TARGETS,
    SMALLER_RATE,
    SMOOTH,
    TRAIN_LONGER,
    WEIGHT_DECAY,
)

_WIDTH = 79
FINE, DOUBTFUL, BAD = "fine", "doubtful", "bad"


@dataclass(frozen=True)
class Check:
    """Limits, meaning and advice for one column of ``diagnostics_``.

    A value as good as `fine` or `doubtful` has that status; the rest is bad. More is better if
    `fine` is more than `doubtful`. In `meanings`, ``{value}`` stands for the value. `applies` takes
    the row of ``diagnostics_`` as a dict; False if the check does not concern it. Of the `advice`,
    one phrase for each remedy, only that is given which the run does not follow already.
    """

    column: str
    fine: float
    doubtful: float
    meanings: dict[str, str]
    advice: tuple[str, ...]
    applies: Callable[[dict], bool] = lambda row: True

    def status(self, value):
        """``fine``, ``doubtful`` or ``bad``."""
        sign = 1 if self.fine > self.doubtful else -1
        found = sign * value
        if found >= sign * self.fine:
            return FINE
        return DOUBTFUL if found >= sign * self.doubtful else BAD


_SMOOTHER = (SMOOTH, AVERAGE, SMALLER_RATE, LARGER_BATCHES)
_LEARN = (OTHER_RATE_OR_RADIUS, TRAIN_LONGER, AS_TRAINED)
_MORE_STATES = "more recorded states, such as trajectory=100"
_UNROLLED = 'method="unrolled"'
_SEARCH = "search method__damping"
_DONE_BY_ROW = {
    **dict.fromkeys((REFINE, REFINE_AND_SCALE), lambda row: row.get("n_left_out", 0) >= 20),
    EVERY_STEP: lambda row: "n_checkpoints" not in str(row.get("mode", "n_checkpoints")),
    _SEARCH: lambda row: row.get("damping_reason") == "given" or "method" in row,
    OTHER_METHOD: lambda row: "method_reason" in row,
    FOR_SIZE: lambda row: "method_reason" in row,
    PREDICTION: lambda row: not pd.isna(row.get("linearity_error")),
}


def _solves(row):
    return not pd.isna(row.get("damping"))


CHECKS = (
    Check(
        "validation_skill",
        0.5,
        0.1,
        {
            FINE: "the model predicts the validation rows well above chance",
            DOUBTFUL: "the model predicts the validation rows little better than chance",
            BAD: "the model predicts the validation rows at chance, or below, so the scores carry "
            "no information",
        },
        (SCALE_FEATURES, *_LEARN),
        applies=lambda row: "validation_r2" not in row,
    ),
    Check(
        "validation_skill",
        0.1,
        0.0,
        {
            FINE: "the model explains {value:.0%} of the variance of the validation targets",
            DOUBTFUL: "the model explains only {value:.0%} of the variance of the validation "
            "targets",
            BAD: "the model predicts the validation targets no better than their mean, so the "
            "scores carry no information",
        },
        (SCALE_FEATURES, SCALE_TARGETS, *_LEARN),
        applies=lambda row: "validation_r2" in row,
    ),
    Check(
        "stationarity",
        1e-3,
        1e-1,
        {
            FINE: "training converged, as this method assumes",
            DOUBTFUL: "training did not quite converge, which this method assumes: trust sign and "
            "order",
            BAD: "training was far from convergence, which this method assumes: do not trust the "
            "scores",
        },
        (TRAIN_LONGER, DECAYING, WEIGHT_DECAY, OTHER_METHOD, MEASURE_ROWS),
        applies=_solves,
    ),
    Check(
        "damping",
        0.0,
        float("inf"),
        {
            FINE: "the linear system was solved without damping",
            DOUBTFUL: "damping was added to solve the linear system, which shrinks the scores: "
            "trust sign and order, not the size",
        },
        (_SEARCH, FOR_SIZE, MEASURE_ROWS),
    ),
    Check(
        "evaluation_mode",
        0.0,
        float("inf"),
        {
            FINE: "row gradients were taken in the mode of training",
            DOUBTFUL: "row gradients were taken in evaluation mode, though training used dropout "
            "or batch norm",
        },
        (EVERY_STEP, MEASURE_ROWS),
    ),
    Check(
        "residual",
        1e-3,
        1e-1,
        {
            FINE: "the linear system is solved",
            DOUBTFUL: "the linear system is solved approximately",
            BAD: "the linear system is not solved, so the scores are not those of the method",
        },
        ("more damping", "more iterations of a solver that iterates"),
    ),
    Check(
        "edge_of_stability",
        0.5,
        1.0,
        {
            FINE: "lr is small for this curvature: training is stable",
            DOUBTFUL: "lr is close to the largest that is stable for this curvature",
            BAD: "lr is above the largest that is stable for this curvature: training is at the "
            "edge of stability, where small changes can have large effects",
        },
        (SMALLER_RATE, DECAYING, PREDICTION, MEASURE_ROWS),
    ),
    Check(
        "replay_distance",
        1e-3,
        1e-1,
        {
            FINE: "the repeated steps end where training ended",
            DOUBTFUL: "the repeated steps end near the point where training ended, but not at it: "
            "the scores belong to a slightly different run",
            BAD: "the repeated steps end far from the point where training ended: training "
            "amplifies rounding errors, and the scores belong to another run",
        },
        (SMALLER_RATE, SMOOTH),
    ),
    Check(
        "growth",
        10.0,
        10.0,
        {
            FINE: "the derivative hardly grew on its way back through training",
            BAD: "the derivative grew on its way back through training, and steps that were left "
            "out grow with it: do not trust the scores",
        },
        (_MORE_STATES, _UNROLLED),
    ),
    Check(
        "last_rate",
        0.15,
        float("inf"),
        {
            FINE: "the learning rate fell towards 0, as this method needs",
            DOUBTFUL: "the learning rate did not fall towards 0: fewer than half of such runs had "
            "scores near those of unrolled",
        },
        (DECAYING, _MORE_STATES, _UNROLLED),
    ),
    Check(
        "linearity_error",
        0.15,
        0.5,
        {
            FINE: "when the rows' weights are changed by as much as one removal, the loss follows "
            "the scores",
            DOUBTFUL: "when the rows' weights are changed by as much as one removal, the loss "
            "roughly follows the scores: trust sign and order, not the size",
            BAD: "when the rows' weights are changed by as much as one removal, the loss does not "
            "follow the scores: do not trust scores of single rows",
        },
        _SMOOTHER,
    ),
    Check(
        "roughness",
        0.6,
        0.9,
        {
            FINE: "training is smooth on the scale of one row's effect",
            DOUBTFUL: "the effect of a typical row is hardly larger than the irregular response of "
            "training to small changes",
            BAD: "the effect of a typical row is lost in the irregular response of training to "
            "small changes: neither its score nor retraining without it is reproducible",
        },
        _SMOOTHER,
    ),
    Check(
        "left_out_error",
        0.45,
        0.8,
        {
            FINE: "leaving out the rows that matter most had about the effect that their "
            "scores predict",
            DOUBTFUL: "leaving out the rows that matter most had only roughly the effect that "
            "their scores predict: trust sign and order of large scores, not the size",
            BAD: "leaving out the rows that matter most did not have the effect that their "
            "scores predict: do not trust scores of single rows",
        },
        (*_SMOOTHER, REFINE, REFINE_AND_SCALE),
    ),
    Check(
        "left_out_rank",
        0.8,
        0.5,
        {
            FINE: "the scores order the rows that matter most as leaving them out does",
            DOUBTFUL: "the scores order the rows that matter most only roughly as leaving them out "
            "does",
            BAD: "the scores do not order the rows that matter most as leaving them out does: do "
            "not trust scores of single rows",
        },
        (*_SMOOTHER, _UNROLLED),
    ),
    Check(
        "metasmoothness",
        0.8,
        0.5,
        {
            FINE: "a training that differs slightly from this one gives the same scores",
            DOUBTFUL: "a training that differs slightly from this one gives somewhat different "
            "scores",
            BAD: "a training that differs slightly from this one gives different scores: "
            "retraining without a row may not be reproducible here, so do not trust scores of "
            "single rows",
        },
        _SMOOTHER,
    ),
    Check(
        "rank_stability",
        0.8,
        0.5,
        {
            FINE: "other seeds rank the rows alike: the scores describe the data",
            DOUBTFUL: "other seeds rank the rows somewhat differently",
            BAD: "other seeds rank the rows differently: the scores describe this run, not the "
            "data",
        },
        ("average the scores of several seeds", "compare groups of rows, not single ones"),
    ),
)


def check_table(diagnostics, done=lambda split: ()):
    """Table of all checks that apply to ``SAMInfluence.diagnostics_``, with their meaning in words.

    Columns without a check, and checks that do not concern the method, are left out. `advice` is
    empty where the status is fine; it leaves out the remedies that ``done(split)`` returns.

    Examples
    --------
    >>> import pandas as pd
    >>> from sam_attribution.diagnosis import check_table
    >>> table = check_table(
    ...     pd.DataFrame({"residual": [1e-8], "rank_stability": [0.3]})
    ... )
    >>> print(table)
             check value status
          residual 1e-08   fine
    rank_stability   0.3    bad
    <BLANKLINE>
    rank_stability: other seeds rank the rows differently: the scores describe this
    run, not the data.
      What helps: average the scores of several seeds, compare groups of rows, not
      single ones.
    """
    lines = [
        _line(split, check, row, done)
        for split, row in diagnostics.to_dict("index").items()
        for check in CHECKS
        if not pd.isna(row.get(check.column)) and check.applies(row)
    ]
    names = ["split", "check", "value", "status", "meaning", "advice"]
    return CheckTable(lines, columns=names)


class CheckTable(pd.DataFrame):
    """DataFrame that prints within 80 columns: a line for each check, then advice.

    What is computed from it is a plain DataFrame.
    """

    @property
    def _constructor(self):
        return pd.DataFrame

    def __repr__(self):
        """Checks, one a line; below them meaning and advice where the status is not fine."""
        columns = ["split", "check", "value", "status"]
        if self["split"].nunique() == 1:
            columns.remove("split")
        formatters = {"value": significant}
        table = pd.DataFrame(self[columns]).to_string(index=False, formatters=formatters)
        notes = [self._note(line) for line in self.itertuples() if line.status != FINE]
        return "\n\n".join([table, *notes])

    def _repr_html_(self):
        with pd.option_context("display.max_colwidth", None):
            return self.to_html(index=False, formatters={"value": significant})

    def _note(self, line):
        of_split = f" (split {line.split})" if self["split"].nunique() > 1 else ""
        said = f"{line.check}{of_split}: {line.meaning}."
        if not line.advice:
            return fill(said, _WIDTH)
        helps = f"What helps: {line.advice}."
        parts = fill(said, _WIDTH), fill(helps, _WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join(parts)


def _line(split, check, row, done):
    value = row[check.column]
    status = check.status(value)
    advice = "" if status == FINE else _advice(check, row, done(split))
    meaning = check.meanings[status].format(value=value)
    return (split, check.column, value, status, meaning, advice)


def _advice(check, row, done):
    """The remedies of a check that are not in use already, as one phrase."""
    done = {*done, *(remedy for remedy, is_done in _DONE_BY_ROW.items() if is_done(row))}
    return ", ".join(remedy for remedy in check.advice if remedy not in done)
