"""Predicted changes of the trained state beside those of training again without the rows."""

import numpy as np
import pandas as pd
import torch

from sam_attribution.problem import FunctionalTraining


def random_groups(candidates, size, n_groups, seed):
    """`n_groups` random draws of `size` of the `candidates`, without replacement.

    Returns
    -------
    list of Tensor
    """
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(candidates), size, replace=False) for _ in range(n_groups))
    return [candidates[torch.as_tensor(np.sort(draw))] for draw in draws]


def verification(problem, groups, step, X, y):
    """Train again without each group: same start, same batches, weight 0.

    Parameters
    ----------
    problem : Problem
        With a recorded training.
    groups : list of Tensor of positions
    step : Tangent
        The predicted change of the trained state for each group.
    X, y : Tensor
        Validation rows and labels.

    Returns
    -------
    DataFrame
        One row per group: `cosine` of the predicted change of the attributed parameters and that
        of training again, `length_ratio` of the first to the second, and the validation accuracy
        of both models.

    Raises
    ------
    ValueError
        If the recorded training cannot be written as pure steps, or no start was recorded.

    Notes
    -----
    Costs a training for each group and one more with every row, from which changes are measured,
    so that rounding cancels.
    """
    training = FunctionalTraining(problem)
    base = _retrained(training, problem.y[:0])
    found = []
    for number, group in enumerate(groups):
        state = _retrained(training, group)
        edited = state_after(problem, step, number)
        found.append(
            _agreement(problem, step.params[number], state.params - base.params)
            | {
                "accuracy_edited": _accuracy(problem, *edited, X, y),
                "accuracy_retrained": _accuracy(problem, state.params, state.buffers, X, y),
            }
        )
    return pd.DataFrame(found)
