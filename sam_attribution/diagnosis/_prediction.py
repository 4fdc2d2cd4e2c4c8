"""Errors of the scores' prediction along the direction in which they predict most."""

from dataclasses import replace
from typing import NamedTuple

import torch

from sam_attribution.problem import FunctionalTraining
from sam_attribution.retraining import final_models

_SIDES = (1, -1)


class PredictionErrors(NamedTuple):
    """Errors relative to the predicted change: 0 is exact, 1 is no better than predicting none.

    Attributes
    ----------
    linearity_error : float
        Error after all rows' weights moved along the scores by the length of one removal (1). It
        is large if the effect of a removal is not linear between weight 1 and weight 0.
    roughness : float
        Error after a move so small that the change is that of a typical single row. It is large if
        training responds irregularly to changes as small as one row.
    """

    linearity_error: float
    roughness: float


def prediction_errors(problem, queries, scores):
    """Move all rows' weights along the scores, and compare the query with the prediction.

    `scores` are the unrolled ones of the recorded training; several queries are averaged. Errors
    are root mean squares over the two directions, more weight and less; inf if a training diverges.

    Notes
    -----
    Cost: five trainings, in one stack where that is faster, and no derivative. The predicted change
    is largest in the direction of the scores, so an unreliable derivative shows there first. No row
    is left out.
    """
    total = scores.mean(1)
    size = float(total.norm())
    if size == 0:
        return PredictionErrors(0.0, 0.0)
    lengths = (1.0, n_trained_on(problem) ** -0.5)
    # a score is of less weight, so the query rises against it
    moves = [-side * length for length in lengths for side in _SIDES]
    weights = torch.stack([1 + move * total / size for move in [*moves, 0.0]])
    changes = _changes(problem, queries, weights).view(len(lengths), len(_SIDES))
    sides = torch.tensor(_SIDES, dtype=torch.float64)
    predicted = size * torch.tensor(lengths, dtype=torch.float64)[:, None] * sides
    errors = (changes / predicted - 1).square().mean(1).sqrt()
    return PredictionErrors(*torch.nan_to_num(errors, nan=torch.inf, posinf=torch.inf).tolist())


def n_trained_on(problem):
    """Number of the problem's rows that sat in a batch."""
    return len(problem.y) if problem.visited is None else int(problem.visited.sum())


def _changes(problem, queries, row_weights):
    """Change of the queries' mean by training with each set of row weights but the last."""
    units = units_of(queries)
    models = final_models(FunctionalTraining(problem), row_weights)
    found = [(queries.values(*model).double() / units).mean() for model in models]
    return torch.stack(found[:-1]).cpu() - found[-1].cpu()


def units_of(queries):
    """Norm that the gradient of each query was divided by; 1 without normalisation."""
    if not queries.normalize:
        return 1.0
    problem = queries.problem
    plain = replace(queries, normalize=False)
    return plain.directions(problem.params, problem.buffers).norm(dim=0).double()
