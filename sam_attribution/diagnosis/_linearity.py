"""Whether what the scores predict comes true, along the direction in which they predict most."""

from dataclasses import replace

import torch

from sam_attribution.problem import FunctionalRun, FunctionalTraining


def linearity(problem, queries, scores, *, length=1.0):
    """Change of the query when all rows move along the scores, as a share of what they predict.

    Two trainings with row weights on either side of 1, moved in proportion to the scores. If these
    are the derivative of something smooth, 1 is found. A derivative that is mostly roughness
    promises far more than comes true.

    Parameters
    ----------
    problem : Problem
        With a recorded training.
    queries : Queries
        Several are taken together, by their mean.
    scores : Tensor of shape (n_samples, k)
        Unrolled scores of that training.
    length : float, default=1.0
        How far the row weights move; 1 is the length of one row's removal.

    Returns
    -------
    float
        1 if the prediction holds, also one that nothing happens; about 0 if it is noise or a
        training diverges.

    Notes
    -----
    Cost: two trainings, no derivative.
    """
    total = scores.mean(1)
    size = total.norm()
    if size == 0:
        return 1.0
    # a score is of less weight, so the query rises against it
    ends = [_values(problem, queries, 1 - sign * length * total / size) for sign in (1, -1)]
    change = ((ends[0] - ends[1]) / _units(queries)).mean()
    return float(torch.nan_to_num(change / (2 * length * size), 0, 0, 0))


def _values(problem, queries, row_weights):
    """Query values after training with other row weights."""
    training = FunctionalTraining(problem, row_weights.to(problem.params))
    after = FunctionalRun(training).final()
    return queries.values(after.params, after.buffers).double()


def _units(queries):
    """What the gradient of each query was divided by."""
    if not queries.normalize:
        return 1.0
    problem = queries.problem
    plain = replace(queries, normalize=False)
    return plain.directions(problem.params, problem.buffers).norm(dim=0).double()
