"""Trainings right beside the recorded one: other row weights, or another start."""

import torch

from sam_attribution.problem import FunctionalRun, FunctionalTraining

# of the length of the start
_START_MOVES = 1e-3


def nearby_weights(problem, generator):
    """Two trainings on either side, all rows a little heavier or lighter by the throw of a coin.

    The weights move by a vector of length 1, as they do when one row is removed.

    Returns
    -------
    list of (FunctionalTraining, FunctionalRun)
    """
    n_rows = len(problem.y) if problem.visited is None else int(problem.visited.sum())
    coins = torch.randint(2, (len(problem.y),), generator=generator)
    direction = (2.0 * coins - 1).to(problem.params) / n_rows**0.5
    trainings = [FunctionalTraining(problem, 1 + sign * direction) for sign in (1, -1)]
    return [(training, FunctionalRun(training)) for training in trainings]


def nearby_starts(problem, generator):
    """Two trainings from starts on either side, a thousandth of the start's length away.

    Returns
    -------
    list of (FunctionalTraining, FunctionalRun)
    """
    training = FunctionalTraining(problem)
    start = training.start()
    noise = torch.randn(start.params.shape, generator=generator).to(start.params)
    step = _START_MOVES * start.params.norm() / noise.norm() * noise
    starts = [start._replace(params=start.params + sign * step) for sign in (1, -1)]
    return [(training, FunctionalRun(training, each)) for each in starts]


NEIGHBOURS = {"starts": nearby_starts, "weights": nearby_weights}
