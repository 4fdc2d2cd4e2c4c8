"""Models of further training: for each seed one with all rows, and one per row or group."""

import numpy as np
import torch
from tqdm.auto import tqdm

from sam_attribution._seeding import draw_seed
from sam_attribution.dynamics import NoFunctionalForm
from sam_attribution.retraining._further_optimizer import further_optimizer
from sam_attribution.retraining._further_steps import FurtherBatches, FurtherSteps, further_loop
from sam_attribution.retraining._further_values import FurtherTrainingValues
from sam_attribution.retraining._real_loop import PURE, own_steps
from sam_attribution.retraining._train_many import models_of, train_many
from sam_attribution.training import derived_seed

_STEP_SETTINGS = ("lr", "rho", "perturbation")


class FurtherProgram:
    """Further training as its method asks for it: by pure steps, or else by the net's own.

    ``words`` name which of the two; the second warns.
    """

    def __init__(self, method, problem):
        self._problem = problem
        self._batch_size = method.batch_size
        self._settings = {name: getattr(method, name) for name in _STEP_SETTINGS}
        self._given = further_optimizer(method.optimizer, problem.layout.shapes)
        self._steps, self.words = self._chosen(method)

    def _chosen(self, method):
        if method.real_loop is True:
            return further_loop, "the net's own steps"
        try:
            self._made_by(FurtherSteps, self.batches(1, 0), 0)
        except NoFunctionalForm as error:
            if method.real_loop is False:
                raise
            self._made_by(further_loop, self.batches(1, 0), 0)
            return further_loop, own_steps(error.cause, type(method).__name__)
        return FurtherSteps, PURE

    def batches(self, n_epochs, seed):
        """Batches of so many epochs, a :class:`FurtherBatches`."""
        return FurtherBatches(self._problem, n_epochs, seed, self._batch_size)

    def training(self, batches, seed):
        """The training on some batches, for ``train_many``."""
        return self._made_by(self._steps, batches, seed)

    def _made_by(self, steps, batches, seed):
        return steps(self._problem, batches, seed, self._given, **self._settings)


def further_runs(method, program, absent, points, read=None):
    """Yield for each seed the stacks of its models, a list: the model with all rows comes first.

    States are kept at the `points`, or the part of them that `read` returns.
    """
    seed = draw_seed(method.random_state)
    numbers = range(method.n_seeds)
    several = method.n_seeds > 1  # the models of a single seed have a bar of their own
    shown = {
        "desc": "further training",
        "unit": "seed",
        "disable": not (method.verbose and several),
    }
    for number in tqdm(numbers, **shown):
        own_seed = derived_seed(seed, number)
        batches = program.batches(points.n_epochs(program), own_seed)
        steps = program.training(batches, own_seed)
        stacks = train_many(
            steps,
            steps.start(),
            absent,
            at=points.steps(batches),
            read=read,
            models_at_once=method.models_at_once,
            n_jobs=method.n_jobs,
            verbose=method.verbose > several,
        )
        yield list(stacks)


class Points:
    """Amounts of further training after which states are kept, in `unit` "epochs" or "steps"."""

    def __init__(self, amounts, unit):
        self.amounts = amounts
        self.unit = unit

    def n_epochs(self, program):
        """Number of epochs up to the last one."""
        if self.unit == "epochs":
            return int(self.amounts[-1])
        return -(-int(self.amounts[-1]) // program.batches(1, 0).n_steps)

    def steps(self, batches):
        """Numbers of the steps before which states are kept."""
        if self.unit == "steps":
            return self.amounts
        return batches.ends_of_epochs[self.amounts - 1]


def checked_points(program, n_epochs, evaluate_at=None, evaluate_at_steps=None):
    """Checked :class:`Points`; by default about ten epochs, closer together in the beginning."""
    if evaluate_at is not None and evaluate_at_steps is not None:
        raise ValueError(
            "evaluate_at and evaluate_at_steps were both given. Pass epochs, or steps: an epoch "
            f"has {program.batches(1, 0).n_steps} of them."
        )
    if evaluate_at_steps is not None:
        last = n_epochs * program.batches(1, 0).n_steps
        return Points(_checked(evaluate_at_steps, "evaluate_at_steps", "steps", last), "steps")
    if evaluate_at is None:
        epochs = np.unique(np.geomspace(1, n_epochs, 10).round().astype(int))
        return Points(epochs, "epochs")
    return Points(_checked(evaluate_at, "evaluate_at", "epochs", n_epochs), "epochs")


def _checked(amounts, argument, unit, last):
    found = np.asarray(amounts)
    whole = found.ndim == 1 and found.dtype.kind in "iu" and len(found)
    if not whole or found[0] < 1 or found[-1] > last or (np.diff(found) < 1).any():
        raise ValueError(f"{argument} must be ascending {unit} in 1..{last}, got {amounts!r}.")
    return found


def values_of_stack(queries, state):
    """Query values of stacked models, shape (n_models, n_query)."""
    return torch.stack([queries.values(*each) for each in models_of(state.params, state.buffers)])


def further_values(queries, absent, points, found, *, groups):
    """The query values of all models as FurtherTrainingValues.

    `groups` is True if groups of rows were left out. `found` has the stacks of every seed, whose
    states are those of :func:`values_of_stack`.
    """
    # (n_amounts, n_seeds, n_models, n_query)
    each = [torch.cat([torch.stack(stack.states) for stack in stacks], 1) for stacks in found]
    values = torch.stack(each, dim=1).double()
    _check_finite(values, absent)
    problem = queries.problem
    rises = (values - queries.values(problem.params, problem.buffers)).cpu().numpy()
    return FurtherTrainingValues(
        amounts=points.amounts,
        unit=points.unit,
        rows=np.concatenate(absent.positions),
        values=rises[:, :, 1:].swapaxes(2, 3),
        full=rises[:, :, 0],
        groups=absent.positions[1:] if groups else None,
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
