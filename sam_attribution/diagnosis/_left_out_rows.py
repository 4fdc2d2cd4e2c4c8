"""The rows that matter most, really left out, beside what their scores predict."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from sam_attribution.diagnosis._prediction import units_of
from sam_attribution.methods import SelfInfluence
from sam_attribution.probes import check_row_norms, training_scores
from sam_attribution.retraining import final_models, recorded_training

_CHECKPOINTS = 10


@dataclass(frozen=True, eq=False)
class LeftOutRows:
    """Rows that were left out one at a time.

    Attributes
    ----------
    rows : Tensor of int64, shape (m,)
        Positions among the rows of a problem.
    predicted, effects : Tensor of shape (m,)
        Rise of the query that the scores predict, and the rise by training again.
    """

    rows: Tensor
    predicted: Tensor
    effects: Tensor

    @property
    def slope(self):
        """Factor of the predictions that fits the effects best; NaN if it is not finite."""
        slope = float(self.predicted.dot(self.effects) / self.predicted.dot(self.predicted))
        return slope if isfinite(slope) else float("nan")

    @property
    def error(self):
        """Error of the predictions in their best unit, relative to the effects: 0 is exact.

        Predictions of the wrong sign are no better than none, 1; so are those of effects that are
        not finite. NaN if there is no effect.
        """
        if not self.effects.isfinite().all():
            return 1.0
        slope = max(self.slope, 0.0) if isfinite(self.slope) else 0.0
        return float((slope * self.predicted - self.effects).norm() / self.effects.norm())

    @property
    def rank_correlation(self):
        """Spearman correlation of predictions and effects, for scores without a unit.

        0 if effects are not finite; NaN if all predictions or all effects are equal.
        """
        if not self.effects.isfinite().all():
            return 0.0
        pair = self.predicted.cpu().numpy(), self.effects.cpu().numpy()
        if min(map(np.ptp, pair)) == 0:
            return float("nan")
        return float(spearmanr(*pair).statistic)


def left_out_rows(queries, scores, own, n_rows, n_jobs=None):
    """Train again without the rows that matter most, one at a time.

    Half of them have the largest absolute scores, the others the largest influence on their own
    loss: what a network has memorised changes most where it is left out, and its derivative may
    say nothing of that.

    Parameters
    ----------
    queries : Queries
        Several are averaged.
    scores : Tensor of shape (n_samples, k)
        NaN for rows that are not to be left out.
    own : Tensor of shape (n_samples,) or None
        Influence of every row on its own loss, see :func:`own_influence`. All rows go by their
        scores if it is not known.
    n_rows : int
    n_jobs : int, optional
        Processes for the trainings.

    Returns
    -------
    LeftOutRows

    Raises
    ------
    ValueError
        If the training was not recorded, or cannot be repeated.

    Notes
    -----
    Cost: a training for each row and one more, in one stack where that is faster.
    """
    program = _training_of(queries.problem)
    scores = scores.double().mean(1)
    rows = _chosen(scores, own, n_rows)
    return LeftOutRows(rows, scores[rows], _effects(program, queries, rows, n_jobs))


def _training_of(problem):
    try:
        return recorded_training(problem, "auto", "leaving rows out")[0]
    except ValueError as error:
        raise ValueError(
            'refine, n_left_out and check="rows" train again without some rows, and this '
            f"training cannot be repeated: {error}"
        ) from error


def _effects(program, queries, rows, n_jobs):
    """Rise (m,) of the queries' mean by training again without each row; inf if it diverges."""
    problem = queries.problem
    weights = problem.params.new_ones(len(rows) + 1, len(problem.y))
    weights[torch.arange(len(rows)), rows] = 0.0
    units = units_of(queries)
    models = final_models(program, weights, n_jobs=n_jobs)
    values = [(queries.values(*model).double() / units).mean() for model in models]
    effects = torch.stack(values[:-1]) - values[-1]
    return torch.nan_to_num(effects, nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def own_influence(problem, queries):
    """Influence (n_samples,) of every row on its own training loss, at ten recorded states.

    None if no training was recorded, or the gradient of a row alone, or what a step made of it, is
    not known.
    """
    if problem.path is None or not problem.path.has_steps:
        return None
    n_checkpoints = min(_CHECKPOINTS, problem.path.n_steps)
    try:
        check_row_norms(problem)
        probes = SelfInfluence(n_checkpoints=n_checkpoints).prepare(problem).probes(queries)
    except ValueError:
        return None
    return -training_scores(problem, probes, given_only=True)[:, 0].double()


def _chosen(scores, own, n_rows):
    """Positions of rows: half of them by absolute score, the others by own influence."""
    n_by_own = 0 if own is None else n_rows // 2
    wanted = scores.abs().where(~scores.isnan(), -torch.inf)
    found = _largest(wanted, n_rows - n_by_own)
    if n_by_own:
        wanted = own.where(~scores.isnan(), -torch.inf).index_fill(0, found, -torch.inf)
        found = torch.cat([found, _largest(wanted, n_by_own)])
    return found


def _largest(values, n_rows):
    """Positions of the largest values, without those at minus infinity."""
    order = values.argsort(descending=True)[:n_rows]
    return order[values[order] > -torch.inf]
