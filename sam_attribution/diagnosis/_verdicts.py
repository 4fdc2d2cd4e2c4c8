"""Numbers of ``diagnostics_`` in words: what they mean for the scores, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

FINE, DOUBTFUL, BAD = "fine", "doubtful", "bad"


@dataclass(frozen=True)
class Check:
    """How to read one column of ``diagnostics_``.

    Attributes
    ----------
    column : str
    fine, doubtful : float
        A value this good is fine, or doubtful; the rest is bad. More is better if `fine` is more
        than `doubtful`.
    meanings : dict
        What each verdict means; one that is not there has the meaning of the next better one.
        ``{value}`` stands for the value.
    advice : str
        What to do unless it is fine.
    reads : callable
        Makes the number that is compared with the limits from the value.
    applies : callable
        Whether the check says anything, from the row of ``diagnostics_`` as a dict.
    """

    column: str
    fine: float
    doubtful: float
    meanings: dict[str, str]
    advice: str
    reads: Callable[[float], float] = float
    applies: Callable[[dict], bool] = lambda row: True

    def verdict(self, value):
        """``fine``, ``doubtful`` or ``bad``."""
        sign = 1 if self.fine > self.doubtful else -1
        found = sign * self.reads(value)
        if found >= sign * self.fine:
            return FINE
        return DOUBTFUL if found >= sign * self.doubtful else BAD

    def meaning(self, verdict):
        """The sentence for a verdict."""
        better = {BAD: DOUBTFUL, DOUBTFUL: FINE}
        while verdict not in self.meanings:
            verdict = better[verdict]
        return self.meanings[verdict]


_SMOOTHER = "smooth activations (GELU, Tanh) and average pooling, a smaller lr, larger batches"


_LEARN = "scale the features, change lr or rho, train longer"


def _solves(row):
    return not pd.isna(row.get("damping"))


def _regression(row):
    return "validation_r2" in row


CHECKS = (
    Check(
        "validation_skill",
        0.5,
        0.1,
        {
            FINE: "the model predicts the validation rows well above chance",
            DOUBTFUL: "the model is not far above chance on the validation rows",
            BAD: "the model is at chance on the validation rows, or below, so scores say nothing",
        },
        _LEARN,
        applies=lambda row: not _regression(row),
    ),
    Check(
        "validation_skill",
        0.1,
        0.0,
        {
            FINE: "the model explains {value:.0%} of the variance of the validation targets",
            DOUBTFUL: "the model explains only {value:.0%} of the variance of the validation "
            "targets",
            BAD: "the model predicts the validation targets no better than their mean would, so "
            "scores say nothing",
        },
        _LEARN,
        applies=_regression,
    ),
    Check(
        "stationarity",
        1e-3,
        1e-1,
        {
            FINE: "training came to rest, as this method assumes",
            DOUBTFUL: "training had not quite come to rest, which this method assumes: trust sign "
            "and order",
            BAD: "training was far from rest, which this method assumes: scores may say nothing",
        },
        'train longer with a decaying lr and some weight decay, or take "gif" or "unrolled"',
        applies=_solves,
    ),
    Check(
        "stationarity",
        float("inf"),
        float("inf"),
        {FINE: "how far from rest training was; this method does not need it to be near"},
        "",
        applies=lambda row: not _solves(row),
    ),
    Check(
        "damping",
        0.0,
        float("inf"),
        {
            FINE: "nothing had to be added to solve the linear system",
            DOUBTFUL: "damping was added to solve the linear system, which shrinks the scores: "
            "trust sign and order, not the size",
        },
        'search method__damping, or take "unrolled" if the size matters',
    ),
    Check(
        "residual",
        1e-3,
        1e-1,
        {
            FINE: "the linear system is solved",
            DOUBTFUL: "the linear system is solved roughly",
            BAD: "the linear system is not solved, so scores are not what the method means",
        },
        "more iterations (solver=GMRES(max_iter=...)), or more damping",
    ),
    Check(
        "edge_of_stability",
        0.5,
        1.0,
        {
            FINE: "lr is small for the curvature: training contracts",
            DOUBTFUL: "lr is near the largest that this curvature bears",
            BAD: "lr times curvature is beyond what descent bears: training lives at the edge of "
            "stability, where small causes can have large effects",
        },
        'a smaller or decaying lr; diagnose(smoothness="prediction") tells whether it does harm',
    ),
    Check(
        "replay_distance",
        1e-3,
        1e-1,
        {
            FINE: "the steps were repeated and ended where training did",
            DOUBTFUL: "the repeated steps end somewhat away from where training did: scores belong "
            "to a run beside yours",
            BAD: "the repeated steps end far from where training did: training magnifies rounding, "
            "and scores belong to another run",
        },
        "a smaller lr, or smooth activations",
    ),
    Check(
        "linearity_error",
        0.15,
        0.5,
        {
            FINE: "when the rows' weights are moved by as much as one removal, the loss follows "
            "the scores",
            DOUBTFUL: "when the rows' weights are moved by as much as one removal, the loss "
            "roughly follows the scores: trust sign and order, not the size",
            BAD: "when the rows' weights are moved by as much as one removal, the loss does not "
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
            DOUBTFUL: "the effect of a typical row is hardly larger than the roughness of training",
            BAD: "the effect of a typical row drowns in the roughness of training: retraining "
            "without it is a lottery, and so is its score",
        },
        _SMOOTHER,
    ),
    Check(
        "metasmoothness",
        0.8,
        0.5,
        {
            FINE: "a training right beside this one gives the same scores",
            DOUBTFUL: "a training right beside this one gives somewhat other scores",
            BAD: "a training right beside this one gives other scores: retraining without a row "
            "may be a lottery here, and scores of single rows are not to be trusted",
        },
        _SMOOTHER,
    ),
    Check(
        "rank_stability",
        0.8,
        0.5,
        {
            FINE: "other seeds rank the rows alike: scores say something about the data",
            DOUBTFUL: "other seeds rank the rows somewhat differently",
            BAD: "other seeds rank the rows differently: scores describe this run, not the data",
        },
        "average the scores of several seeds; compare groups of rows, not single ones",
    ),
)


def verdicts(diagnostics):
    """Read a table of numbers out to a user.

    Parameters
    ----------
    diagnostics : DataFrame
        One row per split, as ``SAMInfluence.diagnostics_``; columns without a check are passed
        over, and so are numbers that are not there (NaN).

    Returns
    -------
    DataFrame
        `split`, `check` (the column), `value`, `verdict` (``"fine"``, ``"doubtful"`` or ``"bad"``),
        `meaning`, `advice` (empty where all is fine).

    Examples
    --------
    >>> import pandas as pd
    >>> from sam_attribution.diagnosis import verdicts
    >>> table = verdicts(pd.DataFrame({"residual": [1e-8], "rank_stability": [0.3]}))
    >>> table[["check", "verdict"]].to_numpy().tolist()
    [['residual', 'fine'], ['rank_stability', 'bad']]
    """
    lines = [
        _line(split, check, row[check.column])
        for split, row in diagnostics.to_dict("index").items()
        for check in CHECKS
        if not pd.isna(row.get(check.column)) and check.applies(row)
    ]
    names = ["split", "check", "value", "verdict", "meaning", "advice"]
    return pd.DataFrame(lines, columns=names)


def _line(split, check, value):
    verdict = check.verdict(value)
    advice = "" if verdict == FINE else check.advice
    meaning = check.meaning(verdict).format(value=value)
    return (split, check.column, value, verdict, meaning, advice)
