"""Trained states, and the outputs of the model there."""

import torch

from sam_attribution._rows import passes_over


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
        passes = passes_over(X, torch.arange(len(X), device=X.device), problem.rows_per_pass)
        parts = [problem.logits(params, buffers, X[rows]) for rows in passes]
    return torch.cat(parts)


def halfway(problem, state):
    """The state in the middle between the trained one and another."""
    params, buffers = state
    between = {
        name: torch.lerp(problem.buffers[name], buffer.to(problem.buffers[name]), 0.5)
        for name, buffer in buffers.items()
        if buffer.is_floating_point()
    }
    return torch.lerp(problem.params, params, 0.5), problem.buffers | between
