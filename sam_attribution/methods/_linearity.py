"""Whether what the scores predict comes true, along the direction in which they predict most."""

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
    scores : Tensor of shape (n_samples, k)
        Unrolled scores of that training; several queries are taken together by their mean.
    length : float, default=1.0
        How far the row weights move; 1 is the length of one row's removal.

    Returns
    -------
    float
        1 if the prediction holds; about 0 if it is noise; NaN if a training or the scores are not
        finite, or all scores are 0.

    Notes
    -----
    Cost: two trainings, no derivative.
    """
    scores = scores.mean(1)
    size = scores.norm()
    ends = [_value(problem, queries, 1 - sign * length * scores / size) for sign in (1, -1)]
    return float((ends[0] - ends[1]) / (2 * length * size))


def _value(problem, queries, row_weights):
    """Mean of the queries after training with other row weights."""
    training = FunctionalTraining(problem, row_weights.to(problem.params))
    after = FunctionalRun(training).final()
    return queries.values(after.params, after.buffers).double().mean()
