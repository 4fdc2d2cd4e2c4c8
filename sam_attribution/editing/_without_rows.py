"""Estimators whose training was repeated, near its end, without some rows."""

from sam_attribution._turns import exclusive
from sam_attribution.editing._edits import Edits
from sam_attribution.editing._end_of_run import EndOfRun
from sam_attribution.fitting import with_net
from sam_attribution.training import edited_copy

_REASON = "the end of its training was repeated without some rows, and that was not recorded"


@exclusive()
def without_rows(trained, rows, share=0.1):
    """A fitted copy of a TrainedSplit's estimator, as :class:`EndOfRun` leads to it.

    `rows` are positions in the split's problem.
    """
    state = next(EndOfRun(trained.problem, [Edits().without(rows)], share).states())
    return with_net(trained.estimator, edited_copy(trained.net, *state, _REASON))
