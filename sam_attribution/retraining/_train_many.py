"""Many trainings at once: the same steps from the same start, with different row weights."""

from numbers import Integral
from operator import itemgetter
from typing import NamedTuple

import torch
from joblib import effective_n_jobs
from tqdm.auto import tqdm

from sam_attribution._jobs import in_parallel
from sam_attribution.dynamics import TrainingState
from sam_attribution.problem import activations_per_row
from sam_attribution.retraining._real_loop import RealLoop, train_alone

# Bytes of parameters and activations that pay off side by side. On a CPU they should fit its
# caches: a step of one small MLP is all overhead, which a stack shares; that of a CNN on images
# is all arithmetic, which batched convolutions do no faster than single ones.
_BYTES = {"cpu": 2**22, "cuda": 2**30}
_SAME_STEP = 0.03  # of the change of the weights; other masks give another gradient


class Stack(NamedTuple):
    """Models that were trained in one stack: their positions, and what is kept of their states."""

    models: slice
    states: list


def models_of(params, buffers):
    """Yield parameters and buffers of every model, from those of a stack."""
    for number, w in enumerate(params):
        yield w, {name: buffer[number] for name, buffer in buffers.items()}


def final_models(training, row_weights, **options):
    """Yield parameters and buffers at the end of a recorded training with other row weights."""
    for stack in train_many(training, training.start(), row_weights, **options):
        (state,) = stack.states
        yield from models_of(state.params, state.buffers)


def train_many(
    program,
    start,
    row_weights,
    *,
    at=None,
    read=None,
    models_at_once="auto",
    n_jobs=None,
    verbose=0,
):
    """Train with the steps of a program, once per set of row weights.

    Parameters
    ----------
    program : object with ``n_steps`` and ``step(number)``
        ``step`` returns a ``problem.PureStep``; for example ``problem.FunctionalTraining``.
    start : TrainingState
        First state of all models.
    row_weights : Tensor of shape (n_models, n_samples)
        Weights of the problem's rows, 0 for one left out; or an object with a length whose slices
        are such tensors.
    at : sequence of int, default=None
        Ascending numbers of the steps before which states are kept. ``None`` is the end.
    read : callable, default=None
        Takes a stacked state and returns the part of it that is kept; by default all of it.
    models_at_once : int or "auto", default="auto"
        Models in one stack, which go through a step together in ``torch.vmap``. ``auto`` is a
        fixed rule: as many as have 4 MiB of parameters and of activations of a batch (1 GiB on
        a GPU). For convolutions on images that is one: models are then trained one after another.
    n_jobs : int, default=None
        Stacks to train at the same time in processes of their own, by joblib's rules; on a GPU
        one after another.
    verbose : int, default=0
        Above 0 shows a progress bar over the models.

    Returns
    -------
    iterator of Stack
        In the order of the models. The tensors of a state have shape (n_models, ...).

    Notes
    -----
    Dropout masks are those of the program's steps, the same for all models. Memory: that of
    one step times the models of a stack, and the states that are kept.
    """
    at = _checked_steps(at, program.n_steps)
    if start.params.device.type != "cpu":
        n_jobs = 1
    n_models, alone = len(row_weights), isinstance(program, RealLoop)
    size = 1 if alone else _size(models_at_once, program, n_models, n_jobs)
    parts = [slice(first, min(first + size, n_models)) for first in range(0, n_models, size)]
    shared = {"program": program, "start": start, "at": at, "read": read}
    jobs = ({**shared, "row_weights": row_weights[part]} for part in parts)
    if alone:
        jobs = (
            {**job, "names": (name,)} for job, name in zip(jobs, _names(row_weights), strict=True)
        )
    found = in_parallel(train_alone if alone else train_stack, jobs, n_jobs=n_jobs)
    return _watched(map(Stack, parts, found), n_models, verbose)


def _names(row_weights):
    """Names of the models, for errors."""
    unnamed = ["a model"] * len(row_weights)
    # the names of a tensor are those of its dimensions
    return unnamed if torch.is_tensor(row_weights) else getattr(row_weights, "names", unnamed)


def train_stack(program, start, row_weights, at, read=None):
    """States of one stack of models, or the parts kept of them, before each step in `at`."""
    weights = row_weights.to(start.params)
    state = _each(start, lambda tensor: tensor.expand(len(weights), *tensor.shape))
    found, after = [], _one_by_one
    for number in range(at[-1] + 1):
        if number in at:
            found.append(state if read is None else read(state))
        if number < at[-1]:
            step = program.step(number)
            if number == 0 and _can_go_together(step, state, weights[:, step.batch.rows]):
                after = _together
            state = after(step, state, weights[:, step.batch.rows])
    return found


def _can_go_together(step, state, row_weights):
    """True if a stack of models makes the step that its first model makes alone.

    Not so for modules that branch on numbers, which vmap does not know, and for dropout of
    transposed activations, whose masks vmap draws in another order.
    """
    if len(row_weights) == 1:
        return False
    start, alone = state.params[:1], _one_by_one(step, _each(state, _first), row_weights[:1])
    try:
        together = _together(step, state, row_weights)
    except RuntimeError:
        return False
    change, distance = alone.params - start, alone.params - together.params[:1]
    rounding = 100 * torch.finfo(start.dtype).eps * start.norm()
    return bool(distance.norm() <= _SAME_STEP * change.norm() + rounding)


def _first(tensor):
    return tensor[:1]


def _together(step, state, row_weights):
    return torch.vmap(step.after, randomness="same")(state, row_weights)


def _one_by_one(step, state, row_weights):
    alone = []
    for number, weights in enumerate(row_weights):
        one = _each(state, itemgetter(number))
        alone.append(step.after(one, weights))
    return TrainingState(
        torch.stack([one.params for one in alone]),
        {name: torch.stack([one.buffers[name] for one in alone]) for name in alone[0].buffers},
        tuple(torch.stack(parts) for parts in zip(*(one.memory for one in alone), strict=True)),
    )


def _each(state, change):
    buffers = {name: change(buffer) for name, buffer in state.buffers.items()}
    return TrainingState(change(state.params), buffers, tuple(map(change, state.memory)))


def _size(models_at_once, program, n_models, n_jobs):
    if isinstance(models_at_once, Integral) and models_at_once > 0:
        return int(models_at_once)
    if models_at_once != "auto":
        raise ValueError(
            f'models_at_once must be "auto" or a positive integer, got {models_at_once!r}.'
        )
    if n_models == 0 or program.n_steps == 0:
        return 1
    share = -(-n_models // effective_n_jobs(n_jobs))  # so that every process has one
    return min(stack_size(program.step(0).batch), share)


def stack_size(batch):
    """Number of models in one stack on a batch, by a rule that measures no time."""
    problem, params = batch.problem, batch.problem.params
    numbers = len(params) + len(batch.rows) * activations_per_row(problem.module, problem.X)
    budget = _BYTES.get(params.device.type, _BYTES["cuda"])
    return max(1, budget // (numbers * params.element_size()))


def _checked_steps(at, n_steps):
    at = [n_steps] if at is None else [int(number) for number in at]
    if not at or at != sorted(set(at)) or at[0] < 0 or at[-1] > n_steps:
        raise ValueError(f"at must be ascending numbers of steps in 0..{n_steps}, got {at}.")
    return at


def _watched(stacks, n_models, verbose):
    with tqdm(total=n_models, desc="retraining", unit="model", disable=not verbose) as bar:
        for stack in stacks:
            yield stack
            bar.update(stack.models.stop - stack.models.start)
