"""Models trained without some rows, from the start and on the batches that were recorded."""

import numpy as np
import torch

from sam_attribution.problem import FunctionalTraining
from sam_attribution.retraining._finished import finished_models, key_of
from sam_attribution.retraining._train_many import train_many


def retrained(problem, absent, *, resume_dir=None, **options):
    """Train every model that is not finished yet.

    Parameters
    ----------
    problem : Problem
        With a recorded training.
    absent : LeftOut
    resume_dir : path, optional
    **options : dict
        Of ``train_many``.

    Returns
    -------
    FinishedModels

    Raises
    ------
    ValueError
        If the training is not finite without some of the rows, or cannot be repeated.
    """
    program = FunctionalTraining(problem)
    start = program.start()  # raises if nothing was recorded
    finished = finished_models(problem, resume_dir)
    keys = np.array([key_of(positions) for positions in absent.positions])
    missing = absent.some(np.flatnonzero([key not in finished.known for key in keys]))
    for stack in train_many(program, start, missing, read=_model, **options):
        models = missing.some(range(len(missing))[stack.models])
        _keep(finished, models, stack.states[0], program)
    return finished


def _model(state):
    """What evaluation needs of a state."""
    return state.params.cpu(), {name: buffer.cpu() for name, buffer in state.buffers.items()}


def _keep(finished, models, state, program):
    params, buffers = state
    fine = params.isfinite().all(1)
    if fine.any():
        keys = [key_of(p) for p, ok in zip(models.positions, fine.tolist(), strict=True) if ok]
        finished.put(keys, params[fine], {name: b[fine] for name, b in buffers.items()})
    if not fine.all():
        bad = models.some([int(fine.logical_not().nonzero()[0])])
        raise ValueError(
            f"{bad.names[0]}, training is not finite after step "
            f"{_first_bad_step(program, bad)}. Leave that out of rows or groups, or train with a "
            "smaller lr; with resume_dir, models that were finished are not trained again."
        )


def _first_bad_step(program, model):
    """Number of the step that led to the first state that is not finite."""
    steps = list(range(program.n_steps + 1))
    (stack,) = train_many(program, program.start(), model, at=steps, read=_is_finite)
    return stack.states.index(False) - 1


def _is_finite(state):
    return bool(torch.isfinite(state.params).all())
