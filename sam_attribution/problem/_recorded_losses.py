"""Losses that training noted, compared with those of the same steps computed again."""

from math import isfinite

import torch

from sam_attribution._warnings import warn
from sam_attribution.problem._few_rows import spread_positions
from sam_attribution.problem._training_batch import TrainingBatch

_N_STEPS = 8
# Relative difference of losses, and absolute one in eps of the largest output
_RELATIVE, _RELATIVE_IN_HALF_PRECISION = 1e-3, 0.1
_OF_OUTPUT = 10


def warn_of_other_losses(problem):
    """Warn if recorded steps, computed again in training mode, do not have the loss they had.

    What draws a step's dropout masks is known, and so gradients in training mode are those of the
    run. They are not if the module has other sources of randomness. Costs a pass with each of a
    few batches.
    """
    path = problem.path
    if not path.has_steps:
        return
    states = [state for state in path.recorded_states if state.step < path.n_steps]
    for number in spread_positions(len(states), _N_STEPS).tolist():
        state = states[number]
        recorded = path.losses[state.step]
        found, slack, draws = _computed_again(problem, state)
        if path.taken[state.step] and isfinite(recorded) and not abs(found - recorded) <= slack:
            warn(
                f"the loss of training step {state.step}, computed again with the recorded batch "
                f"and seed, is {found:.4g} instead of {recorded:.4g}: {_cause(draws)}. The "
                "gradients in training mode and the perturbations are therefore not those of the "
                "run. Draw from torch's global stream in forward, which every step seeds, or use "
                '"tracin" or "hif", which need neither.'
            )
            return


def _computed_again(problem, state):
    """Loss of the step after a recorded state, the error it may have, and what was drawn from."""
    path, device = problem.path, problem.params.device
    problem = problem.at_epoch(path.epoch_at(state))
    params = state.params.to(problem.params)
    buffers = {name: buffer.to(device) for name, buffer in state.buffers.items()}
    losses, largest = [], 0.0
    for rows in path.shares(state.step):
        batch = TrainingBatch(problem, rows, path.seed_of(state.step))
        output, draws = batch.tried(params, buffers)
        losses.append(float(batch.mean_loss(output)))
        largest = max(largest, float(output.abs().max()))
    loss = sum(losses) / len(losses)
    half = path.mixed_precision or params.dtype not in (torch.float32, torch.float64)
    relative = _RELATIVE_IN_HALF_PRECISION if half else _RELATIVE
    eps = torch.finfo(torch.bfloat16 if half else params.dtype).eps
    return loss, relative * abs(loss) + _OF_OUTPUT * eps * largest, draws


def _cause(draws):
    others = [f"{owner}'s" for owner in draws if owner != "torch"]
    if others:
        return f"module draws from {' and '.join(others)} global random stream in forward"
    return (
        "the step depends on something that is not recorded, such as a random stream of the "
        "module's own, a memory of earlier calls, or compiled dropout"
    )
