"""Models trained without some rows, from the recorded start and on the recorded batches."""

from functools import partial

import numpy as np
import torch

from sam_attribution._warnings import warn
from sam_attribution.retraining._finished import (
    finished_models,
    key_of,
    saying_what_is_kept,
)
from sam_attribution.retraining._real_loop import RealLoop
from sam_attribution.retraining._train_many import train_many
from sam_attribution.training import copy_of_module

# Relative distance of weights. Pure steps side by side differ from those of training by rounding,
# some 1e-7 in float32, which training may amplify: a ReLU network at a large rate by thousands.
_DOUBTFUL, _ANOTHER_RUN = 1e-3, 1e-1
_SMALLER_STACKS = " Models are kept a stack at a time: a smaller models_at_once saves more often."


def retrained(problem, program, absent, *, recorded_end=None, resume_dir=None, **options):
    """Train every model that is not finished yet, and return all as FinishedModels.

    `program` is the problem's recorded training, as pure steps or as a ``RealLoop``.

    The model with every row has to end at the weights `recorded_end`, if they are given: it warns
    if it ends near them, and raises a ValueError if it ends elsewhere. `options` are those of
    ``train_many``.
    """
    start = program.start()  # raises if nothing was recorded
    is_real = isinstance(program, RealLoop)
    finished = finished_models(resume_dir, partial(_task, problem, is_real))
    keys = np.array([key_of(positions) for positions in absent.positions])
    missing = absent.some(np.flatnonzero([key not in finished.known for key in keys]))
    with saying_what_is_kept(finished, keys, resume_dir, _SMALLER_STACKS if resume_dir else ""):
        for stack in train_many(program, start, missing, read=_model, **options):
            models = missing.some(range(len(missing))[stack.models])
            if recorded_end is not None and len(models.positions[0]) == 0:
                _check_end(stack.states[0][0][0], recorded_end, is_real)
            _keep(finished, models, stack.states[0], program)
    return finished


def _task(problem, is_real):
    """Everything that a problem's training depends on, the same after fitting again.

    Models by the net's own steps (`is_real`) are others.
    """
    path = problem.path
    settings = (problem.row_loss, problem.perturbation, path.optimizer, path.group_settings)
    steps = [(s.indices, s.rates, s.rho, s.gradient_factor, s.settings) for s in path.schedule]
    data = (problem.X, problem.y, problem.weights, problem.denominators)
    task = _module_at_start(problem), settings, path.seed, steps, data
    # appended only where they are set: without them the hash is that of older versions
    parts = [step.m_sharpness for step in path.schedule]
    more = ([parts] if any(parts) else []) + (["own steps"] if is_real else [])
    return *task, *more


def _module_at_start(problem):
    # its trained weights are what follows, and on a GPU not to the bit
    module, start = copy_of_module(problem.module), problem.path.nearest(0)
    with torch.no_grad():
        values = problem.layout.unflatten(start.params).values()
        for parameter, value in zip(problem.layout.parameters_of(module), values, strict=True):
            parameter.copy_(value)
    module.load_state_dict(start.buffers, strict=False)
    return module


def _model(state):
    """Parameters and buffers of a state, on the CPU."""
    return state.params.cpu(), {name: buffer.cpu() for name, buffer in state.buffers.items()}


def _check_end(params, recorded, is_real=False):
    recorded = recorded.to(params)
    distance = float((params - recorded).norm() / recorded.norm())
    if is_real and distance > _DOUBTFUL:
        raise ValueError(
            f"the net's own steps, repeated with every row, end {distance:.1e} away from the "
            "weights of the estimator (relative): training depended on random augmentation, or "
            "on something that a class keeps from an earlier step. Reset that in on_train_begin, "
            "and let augmentation depend on the row alone."
        )
    if distance > _ANOTHER_RUN:
        raise ValueError(
            f"training repeated with every row ends {distance:.1e} away from the weights of the "
            "estimator (relative): the effects of leaving rows out would belong to another run. "
            "Either something that is not recorded changed the weights (a callback such as "
            "EarlyStopping(load_best=True), a custom train_step, mixed precision): train without "
            f"it. Or training amplifies rounding errors: {_steadier(recorded)}."
        )
    if distance > _DOUBTFUL:
        warn(
            f"Training repeated with every row ends {distance:.1e} away from the weights of the "
            "estimator (relative). It amplifies rounding errors, so the effects of leaving rows "
            f"out belong to another run: {_steadier(recorded)}."
        )


def _steadier(params):
    """Advice by which a training amplifies rounding errors less."""
    is_wide = params.dtype == torch.float64
    wider = "" if is_wide else ', train with dtype="float64"'
    return f"lower lr{wider}, or repeat the net's own steps with real_loop=True"


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
