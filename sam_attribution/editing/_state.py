"""The trained state moved along a predicted step."""

import torch


def state_after(problem, step, number, size=1.0):
    """Parameters and buffers of a problem after a step, or a part of it.

    Parameters
    ----------
    problem : Problem
    step : Tangent
        Of the trained state.
    number : int
        Which of the k steps in it.
    size : float, default=1.0
        How much of it.

    Returns
    -------
    params : Tensor of shape (n_params,)
    buffers : dict of str to Tensor
    """
    params = problem.params + size * step.params[number].to(problem.params)
    moved = {
        name: problem.buffers[name] + size * tangent[number].to(problem.buffers[name])
        for name, tangent in step.buffers.items()
    }
    return params, problem.buffers | moved


def outputs(problem, params, buffers, X):
    """What the model puts out for rows, in evaluation mode."""
    with torch.no_grad():
        parts = [problem.logits(params, buffers, rows) for rows in X.split(problem.rows_per_pass)]
    return torch.cat(parts)
