"""Gradient-based influence along the recorded training (GIF)."""

from numbers import Integral

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method
from sam_attribution.methods._path_sum import PathSum
from sam_attribution.methods._rates import check_effective
from sam_attribution.problem import check_keeps_states
from sam_attribution.training import bare_optimizer


class GIF(Method):
    """Sum over the training of rate times <query gradient, row gradient at the SAM point>.

    Parameters
    ----------
    query : {"final", "checkpoint"}, default="final"
        Take the query's gradient at the final parameters (the paper) or at each visited
        state (as TracIn does).
    n_checkpoints : "recorded", int or None, default="recorded"
        Number of equal stretches of the training. Each is represented by its middle state, where
        every row counts with 1/n. ``recorded`` takes the stretches of the recording
        (``trajectory`` of the net; ten of them if every state was recorded), so that nothing is
        repeated. For another number the states between are replayed, which costs up to one
        training: the column `steps_repeated` of ``diagnostics_`` counts its steps. None visits
        every step, where a row counts in its own batches only, with its share of them.
    rates : {"plain", "effective"}, default="plain"
        ``plain``: the learning rates. ``effective``: these, with the effect of momentum (Adam: its
        moments) and weight decay until the end of training. The ranking hardly differs. Both
        are multiplied by the recorded factor of gradient clipping.

    Notes
    -----
    The unit is nats per removed row, but the slope against retraining need not be 1, because
    curvature is ignored. With dropout or batch norm, eps is that of the recorded batch in training
    mode with the recorded masks; with ``n_checkpoints=None`` the rows' gradients are, too. At the
    middle state of a stretch rows outside the batch have none in training mode, so all are taken
    in evaluation mode. With ``m_sharpness`` of the net every part of a batch has an eps: a row is
    read at that of its own part, at a middle state every row at that of each part. Cost: per state
    one gradient of the batch drawn there, one of the queries if ``query="checkpoint"``, and per
    query one forward-mode pass over the rows (with ``m_sharpness`` for each part).

    References
    ----------
    arXiv:2507.04059, theorem 4.6 and algorithm 2 (its sign is turned, see ``PathSum``).

    Examples
    --------
    >>> from sam_attribution.methods import GIF
    >>> GIF(query="checkpoint", n_checkpoints=5)
    GIF(n_checkpoints=5, query='checkpoint')
    """

    def __init__(self, *, query="final", n_checkpoints="recorded", rates="plain"):
        self.query = query
        self.n_checkpoints = n_checkpoints
        self.rates = rates

    _parameter_constraints = {
        "query": [StrOptions({"final", "checkpoint"})],
        "n_checkpoints": [
            StrOptions({"recorded"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "rates": [StrOptions({"plain", "effective"})],
    }

    def check_model(self, problem, optimizer):
        check_keeps_states(problem)
        if self.rates == "effective":
            check_effective(type(bare_optimizer(optimizer)))

    def prepare(self, problem):
        """Check the settings against the recorded training.

        Raises
        ------
        ValueError
            For an unknown option, or a problem without a recorded training.
        """
        check_parameters(self)
        return PathSum(
            problem,
            query=self.query,
            n_checkpoints=self.n_checkpoints,
            rates=self.rates,
            at="w+eps",
        )
