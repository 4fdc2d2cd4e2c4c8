"""Whether what the scores predict comes true, where they predict most."""

from dataclasses import replace
from typing import NamedTuple

import torch

from sam_attribution.problem import FunctionalTraining
from sam_attribution.retraining import train_many

_SIDES = (1, -1)


class PredictionErrors(NamedTuple):
    """Errors of predicted changes, relative to these; 0 is perfect, 1 as bad as predicting none.

    Attributes
    ----------
    linearity_error : float
        All rows' weights moved along the scores, as far as one removal goes (length 1). Large if
        the effect of a removal bends on the way from weight 1 to weight 0.
    roughness : float
        Moved so little that the change is that of a typical single row. Large if the effect of
        one row drowns in the roughness of training.
    """

    linearity_error: float
    roughness: float


def prediction_errors(problem, queries, scores):
    """Move all rows' weights along the scores, and see whether the query follows.

    Parameters
    ----------
    problem : Problem
        With a recorded training.
    queries : Queries
        Several are taken together, by their mean.
    scores : Tensor of shape (n_samples, k)
        Unrolled scores of that training.

    Returns
    -------
    PredictionErrors
        Root mean square over the two sides, more weight and less; inf if a training diverges.

    Notes
    -----
    Cost: five trainings, in one stack where that is quicker, and no derivative. The direction of
    the scores is the one in which a derivative promises most, so a derivative that is mostly
    roughness is found out at once; no row is left out.
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
    predicted = size * torch.tensor(lengths)[:, None] * torch.tensor(_SIDES)
    errors = (changes / predicted - 1).square().mean(1).sqrt()
    return PredictionErrors(*torch.nan_to_num(errors, nan=torch.inf, posinf=torch.inf).tolist())


def n_trained_on(problem):
    """Number of the problem's rows that sat in a batch."""
    return len(problem.y) if problem.visited is None else int(problem.visited.sum())


def _changes(problem, queries, row_weights):
    """Change of the queries' mean by training with each set of row weights but the last."""
    training = FunctionalTraining(problem)
    found = []
    for stack in train_many(training, training.start(), row_weights):
        (state,) = stack.states
        for number, params in enumerate(state.params):
            buffers = {name: buffer[number] for name, buffer in state.buffers.items()}
            found.append((queries.values(params, buffers).double() / _units(queries)).mean())
    return torch.stack(found[:-1]).cpu() - found[-1].cpu()


def _units(queries):
    """What the gradient of each query was divided by."""
    if not queries.normalize:
        return 1.0
    problem = queries.problem
    plain = replace(queries, normalize=False)
    return plain.directions(problem.params, problem.buffers).norm(dim=0).double()
