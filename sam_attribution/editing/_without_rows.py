"""Estimators whose training was repeated, near its end, without some rows."""

from math import isfinite

import numpy as np
import torch

from sam_attribution._turns import exclusive
from sam_attribution._warnings import warn
from sam_attribution.editing._edits import Edits
from sam_attribution.editing._end_of_run import EndOfRun
from sam_attribution.editing._report import loss_on, rises
from sam_attribution.fitting import with_net
from sam_attribution.training import edited_copy

_REASON = "the end of its training was repeated without some rows, and that was not recorded"
_ROWS = 1000  # on which the loss is compared


@exclusive()
def without_rows(trained, rows, share=0.1):
    """A fitted copy of a TrainedSplit's estimator, as :class:`EndOfRun` leads to it.

    `rows` are positions in the split's problem. The steps are the same whatever the rows are. Warns
    if the loss of the kept rows rises. Raises a ValueError that names ``refit="retrain"`` if the
    steps cannot be repeated, or diverge.
    """
    try:
        end = EndOfRun(trained.problem, [Edits().without(rows)], share, same_start=True)
        state = next(end.states())
    except ValueError as error:
        raise no_replay(error) from error
    _check_kept(trained.problem, end, state, rows)
    return with_net(trained.estimator, edited_copy(trained.net, *state, _REASON))


def no_replay(reason):
    """A ValueError for a ``refit="replay"`` that is not possible."""
    return ValueError(
        f'refit="replay" cannot repeat the training: {reason} Otherwise pass refit="retrain".'
    )


def _check_kept(problem, end, state, rows):
    """Warn if the mean loss of up to 1000 kept rows rises; a ValueError if it is not finite."""
    kept = np.setdiff1d(np.arange(problem.n_rows), rows)
    some = torch.as_tensor(kept[:: -(-len(kept) // _ROWS)], device=problem.y.device)
    before = loss_on(problem, (problem.params, problem.buffers), some)
    after = loss_on(problem, state, some)
    if not isfinite(after):
        raise no_replay(f"the loss of the kept rows is {after} after it.")
    if end.lr_factor is not None and rises(problem, before, after):
        warn(
            f'with refit="replay" the loss of the kept rows rises from {before:.3g} to '
            f"{after:.3g}. The learning rates of the repeated steps, which start at the mean "
            'rate of the training, are too large for the model. Pass refit="retrain".'
        )
