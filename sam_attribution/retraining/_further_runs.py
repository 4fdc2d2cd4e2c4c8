"""Models of further training: for each seed one with all rows, and one per row left out."""

import numpy as np
import torch
from tqdm.auto import tqdm

from sam_attribution._seeding import draw_seed
from sam_attribution.retraining._further_steps import FurtherSteps
from sam_attribution.retraining._further_values import FurtherTrainingValues
from sam_attribution.retraining._train_many import models_of, train_many
from sam_attribution.training import derived_seed

_STEP_SETTINGS = ("batch_size", "lr", "rho", "perturbation", "optimizer")


def further_runs(method, problem, absent, evaluate_at, read=None):
    """Yield for each seed the stacks of its models, a list: the model with all rows comes first.

    States are kept after the epochs `evaluate_at`, or the part of them that `read` returns.
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
    return torch.stack([queries.values(*each) for each in models_of(state.params, state.buffers)])


def further_values(queries, absent, evaluate_at, found):
    """The query values of all models as FurtherTrainingValues.

    `found` has the stacks of every seed, whose states are those of :func:`values_of_stack`.
    """
    # (n_amounts, n_seeds, n_models, n_query)
    each = [torch.cat([torch.stack(stack.states) for stack in stacks], 1) for stacks in found]
    values = torch.stack(each, dim=1).double()
    _check_finite(values, absent)
    problem = queries.problem
    rises = (values - queries.values(problem.params, problem.buffers)).cpu().numpy()
    return FurtherTrainingValues(
        amounts=np.asarray(evaluate_at),
        rows=np.concatenate(absent.positions),
        values=rises[:, :, 1:].swapaxes(2, 3),
        full=rises[:, :, 0],
    )


def _check_finite(values, absent):
    """Raise a ValueError that names the first model whose values are not finite."""
    broken = (~values.isfinite()).any(3).nonzero()
    if len(broken):
        _, seed, model = broken[0].tolist()
        raise ValueError(
            f"{absent.names[model]}, further training with seed {seed} gave values that are not "
            "finite. Lower lr."
        )
