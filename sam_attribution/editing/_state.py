"""The trained state after a predicted step, and the outputs of the model there."""

import torch


def state_after(problem, step, number, size=1.0):
    """Parameters and buffers of a problem after one of a Tangent's steps, or `size` of it."""
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
