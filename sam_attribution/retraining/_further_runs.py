"""Models of further training: for each seed one with all rows, and one per row left out."""

import numpy as np
import torch
from tqdm.auto import tqdm

from sam_attribution._seeding import draw_seed
from sam_attribution.retraining._further_steps import FurtherSteps
from sam_attribution.retraining._further_values import FurtherTrainingValues
from sam_attribution.retraining._train_many import train_many
from sam_attribution.training import derived_seed

_STEP_SETTINGS = ("batch_size", "lr", "rho", "perturbation", "optimizer")


def further_runs(method, problem, absent, evaluate_at, read=None):
    """Yield for each seed the stacks of its models, a list: the model with all rows comes first.

    Parameters
    ----------
    method : FurtherTraining
    problem : Problem
    absent : LeftOut
        The rows to leave out one by one; model 0 leaves out none.
    evaluate_at : sequence of int
        Epochs, ascending, after which states of the models are kept.
    read : callable, optional
        Takes a stacked state and returns the part of it that is kept; by default all of it.
    """
    settings = {name: getattr(method, name) for name in _STEP_SETTINGS}
    seed = draw_seed(method.random_state)
    numbers = range(method.n_seeds)
    for number in tqdm(numbers, desc="further training", unit="seed", disable=not method.verbose):
        steps = FurtherSteps(problem, evaluate_at[-1], derived_seed(seed, number), **settings)
        stacks = train_many(
            steps,
            steps.start(),
            absent,
            at=steps.ends_of_epochs[np.subtract(evaluate_at, 1)],
            read=read,
            models_at_once=method.models_at_once,
            n_jobs=method.n_jobs,
        )
        yield list(stacks)


def checked_epochs(evaluate_at, n_epochs):
    """Checked epochs, an array; for None about ten, closer together in the beginning."""
    if evaluate_at is None:
        return np.unique(np.geomspace(1, n_epochs, 10).round().astype(int))
    epochs = np.asarray(evaluate_at)
    whole = epochs.ndim == 1 and epochs.dtype.kind in "iu" and len(epochs)
    if not whole or epochs[0] < 1 or epochs[-1] > n_epochs or (np.diff(epochs) < 1).any():
        raise ValueError(
            f"evaluate_at must be ascending epochs in 1..{n_epochs}, got {evaluate_at!r}."
        )
    return epochs


def values_of_stack(queries, state):
    """Query values of stacked models, shape (n_models, n_query)."""
    models = range(len(state.params))
    buffers = ({name: b[model] for name, b in state.buffers.items()} for model in models)
    return torch.stack([queries.values(w, b) for w, b in zip(state.params, buffers, strict=True)])


def further_values(queries, absent, evaluate_at, found):
    """Collect the query values of all models in one object.

    Parameters
    ----------
    queries : Queries
    absent : LeftOut
    evaluate_at : sequence of int
    found : list of list of Stack
        Stacks of every seed, whose states are those of :func:`values_of_stack`.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    values = torch.stack([_joined(stacks) for stacks in found]).transpose(0, 1).double()
    _check_finite(values, absent)
    problem = queries.problem
    rises = (values - queries.values(problem.params, problem.buffers)).cpu().numpy()
    return FurtherTrainingValues(
        amounts=np.asarray(evaluate_at),
        rows=np.concatenate(absent.positions),
        values=rises[:, :, 1:].swapaxes(2, 3),
        full=rises[:, :, 0],
    )


def _joined(stacks):
    """Values of one seed, shape (n_amounts, n_models, n_query)."""
    return torch.cat([torch.stack(stack.states) for stack in stacks], dim=1)


def _check_finite(values, absent):
    """Raise a ValueError that names the first model whose values are not finite."""
    broken = (~values.isfinite()).any(3).nonzero()
    if len(broken):
        _, seed, model = broken[0].tolist()
        raise ValueError(
            f"{absent.names[model]}, further training with seed {seed} gave values that are not "
            "finite. Lower lr."
        )
