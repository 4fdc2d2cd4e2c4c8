"""The end of a recorded run, taken again without some rows."""

from math import ceil

import numpy as np
import torch

from sam_attribution.editing._falling_rates import factor_of, falling_rates
from sam_attribution.retraining import final_models, recorded_loop

# Distance from the recorded state, in parts of the way to it, and in eps of the weights
_OF_WAY, _ROUNDING = 1e-2, 100
_TRIED = 8  # steps, if so many are left
LR_FACTOR = "auto"
_WHAT = 'repeating steps of the training (relabel, or remove with how="replay" or "retrain")'


class EndOfRun:
    """The last steps of a recorded training, taken again with each of some edits.

    `edits` are a list of ``Edits``, all with the same labels. The steps have the recorded batches,
    optimizer state and random numbers, and begin at the last recorded state before `share` of all
    steps, and before a step with each of the edited rows; with `same_start` with each of all rows,
    so that all edits take the same steps. ``share`` is the share that is taken again. The rates
    fall from `lr_factor` times the mean rate of the run to 0; they are the recorded ones if it is
    None, which ``lr_factor`` also is if all steps are taken again. "auto" is 1 where the recorded
    rates had fallen, otherwise None.

    Raises
    ------
    ValueError
        If the steps cannot be repeated.
    """

    is_linear = False

    def __init__(self, problem, edits, share, *, lr_factor=LR_FACTOR, same_start=False):
        path, n_steps = problem.path, problem.path.n_steps
        path.check_training_again(_WHAT)
        self._weights = torch.ones(len(edits), problem.n_rows)
        for row, each in zip(self._weights, edits, strict=True):
            row[list(each.removed)] = 0.0
        wanted = ceil(n_steps * (1 - share) - 1e-9)  # 0.1 of 10 steps is one
        edited = np.concatenate([each.rows for each in edits])
        last = _last_with(problem, slice(None) if same_start else edited)
        first = path.nearest(min(wanted, last)).step
        self.share = (n_steps - first) / n_steps
        options = {"codes": codes_of(problem, edits[0])}
        self.lr_factor = factor_of(lr_factor, path, first)
        if self.lr_factor is not None:
            options["schedule"] = falling_rates(path, first, self.lr_factor)
        self._loop = recorded_loop(problem, first, **options)
        _check_steps_repeat(problem, first)

    @property
    def remedy(self):
        """Advice for steps that diverge, as a sentence."""
        if self.lr_factor is None:
            return (
                "The edit uses the learning rates of the training: edit fewer rows, or train "
                "with a lower lr."
            )
        return (
            f"The end of the training is repeated with lr_factor={self.lr_factor}: pass a smaller "
            "lr_factor, or None for the recorded rates."
        )

    @property
    def how(self):
        """Name of the edit: "retrain" if all steps are taken again."""
        return "retrain" if self.share == 1 else "replay"

    def states(self, **options):
        """Iterator of parameters and buffers at the end with each of the edits.

        `options` are those of ``retraining.train_many``.
        """
        return final_models(self._loop, self._weights, **options)


def codes_of(problem, edits):
    """Label codes (or targets) of all rows after some edits; None if they are as in training."""
    if not edits.relabelled:
        return None
    return problem.path.codes_with([*edits.relabelled], [*edits.labels])


def _last_with(problem, rows):
    """Number of the last step from which on each of some rows is in a batch again.

    A row that was in none has nothing to be left out of.
    """
    path = problem.path
    last = np.full(problem.n_rows, path.n_steps - 1)
    for number in np.flatnonzero(path.taken):
        last[path.schedule[number].indices] = number
    return int(last[rows].min())


def _check_steps_repeat(problem, first):
    """Raise a ValueError if the steps do not repeat what they did.

    A module or a callback may keep numbers from one step to the next, or draw random ones from a
    stream of its own, which no recorded state holds. Some steps, up to a recorded state or the end,
    are taken again with every row.
    """
    path = problem.path
    loop = recorded_loop(problem, first)
    start = loop.start().params
    later = [state for state in path.recorded_states if state.step > first]
    known = next((state for state in later if state.step >= first + _TRIED), later[-1])
    (reached,) = loop.states(torch.ones(problem.n_rows), [known.step - first])
    recorded, eps = known.params.to(start), torch.finfo(start.dtype).eps
    allowed = _OF_WAY * (recorded - start).norm() + _ROUNDING * eps * recorded.norm()
    if not (reached.params[0].to(start) - recorded).norm() <= allowed:
        raise ValueError(
            f"training repeated from step {first} with every row does not reach the state "
            f"recorded at step {known.step}. A module, a callback or a class of yours keeps "
            "something from one step to the next, or draws from a random stream of its own. Use "
            'how="retrain", which begins at the first step, or how="linear".'
        )
