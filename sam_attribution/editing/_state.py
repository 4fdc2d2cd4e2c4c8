"""The trained state after a predicted step, and the outputs of the model there."""

import torch


def state_after(problem, step, number, size=1.0):
    """Parameters and buffers of a problem after a step, or a part of it.

    Parameters
    ----------
    problem : Problem
    step : Tangent
        Change of the trained state.
    number : int
        Number of the step, of the k in it.
    size : float, default=1.0
        Part of the step that is taken.

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
    """Outputs of the model for rows, in evaluation mode."""
    with torch.no_grad():
        parts = [problem.logits(params, buffers, rows) for rows in X.split(problem.rows_per_pass)]
    return torch.cat(parts)
