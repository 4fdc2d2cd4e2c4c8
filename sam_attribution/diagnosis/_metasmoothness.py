"""Metasmoothness: agreement of the scores of a training with those of trainings near it."""

import torch

from sam_attribution.diagnosis._prediction import n_trained_on
from sam_attribution.methods import UnstableTraining, reverse_sweep
from sam_attribution.probes import training_scores
from sam_attribution.problem import FunctionalRun, FunctionalTraining

_START_MOVES = 1e-3  # of the length of the start


def metasmoothness(problem, queries, scores=None, *, nearby="weights", seed=0):
    """Cosine of a training's unrolled scores with those of two trainings near it.

    Near 1 the query is a smooth function of the rows' weights, and its derivative predicts the
    effect of a removal. Near 0 or below it is not smooth: the loss jumps by amounts that depend on
    rounding, and neither the scores nor retraining without a row are reproducible. No model is
    retrained without a row for this.

    `scores` are those of the recorded training, computed if None. The trainings near it differ in
    their row weights by a random vector of length 1, the length of one row's removal, or with
    ``nearby="starts"`` in their start, by a thousandth of its length. The mean over both and the
    queries is returned, between -1 and 1; 0 if a neighbour's derivative is not finite.

    Notes
    -----
    Cost: about five trainings for each of the two: one, the same once more for its states between
    (at most ``2 sqrt(T)`` of T are kept), and a reverse sweep. Given `scores` save a sweep.

    References
    ----------
    Ilyas & Engstrom, MAGIC, arXiv:2504.16430; Engstrom et al., arXiv:2503.13751.
    """
    if nearby not in _NEIGHBOURS:
        raise ValueError(f"nearby must be one of {sorted(_NEIGHBOURS)}, got {nearby!r}.")
    if scores is None:
        scores = recorded_scores(problem, queries)
    neighbours = _NEIGHBOURS[nearby](problem, torch.Generator().manual_seed(seed))
    try:
        found = [unrolled_scores(near, run.backwards(), queries) for near, run in neighbours]
    except UnstableTraining:
        return 0.0
    alike = [torch.nn.functional.cosine_similarity(scores, each, dim=0) for each in found]
    return float(torch.stack(alike).mean())


def recorded_scores(problem, queries):
    """Unrolled scores of the recorded training, shape (n_samples, k)."""
    training = FunctionalTraining(problem)
    states = training.states(problem.path.states_backwards(exact=True))
    return unrolled_scores(training, states, queries)


def unrolled_scores(training, states, queries):
    """Unrolled scores of a training, shape (n_samples, k), from its states, the last one first."""
    probes = reverse_sweep(training, states, queries)
    return training_scores(training.problem, probes, given_only=True)


def _nearby_weights(problem, generator):
    """Two trainings with row weights plus and minus a random vector of length 1, and their runs.

    The vector has the length of one row's removal, and entries of equal size and random sign.
    """
    coins = torch.randint(2, (len(problem.y),), generator=generator)
    direction = (2.0 * coins - 1).to(problem.params) / n_trained_on(problem) ** 0.5
    trainings = [FunctionalTraining(problem, 1 + sign * direction) for sign in (1, -1)]
    return [(training, FunctionalRun(training)) for training in trainings]


def _nearby_starts(problem, generator):
    """A training twice, and its runs from starts that differ by a thousandth of their length."""
    training = FunctionalTraining(problem)
    start = training.start()
    shape = start.params.shape
    noise = torch.randn(shape, generator=generator, dtype=torch.float32).to(start.params)
    step = _START_MOVES * start.params.norm() / noise.norm() * noise
    starts = [start._replace(params=start.params + sign * step) for sign in (1, -1)]
    return [(training, FunctionalRun(training, each)) for each in starts]


_NEIGHBOURS = {"starts": _nearby_starts, "weights": _nearby_weights}
