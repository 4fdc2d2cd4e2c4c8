"""Gradient-based influence along the recorded training (GIF)."""

from numbers import Integral

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method
from sam_attribution.methods._path_sum import PathSum


class GIF(Method):
    """Sum over the training of rate times <query gradient, row gradient at the SAM point>.

    Parameters
    ----------
    query : {"final", "checkpoint"}, default="final"
        Take the query's gradient at the final parameters (the paper) or at each visited
        state (as TracIn does).
    n_checkpoints : int or None, default=10
        Number of equal stretches of the training. Each is represented by its middle state, where
        every row counts with 1/n. None visits every step, where a row counts in its own
        batches only, with its share of them; the states between the recorded ones are
        replayed, which costs one training.
    rates : {"plain", "effective"}, default="plain"
        ``plain``: the learning rates. ``effective``: these, with the effect of momentum (Adam: its
        moments) and weight decay until the end of training. The ranking hardly differs. Both
        are multiplied by the recorded factor of gradient clipping.

    Notes
    -----
    The unit is nats per removed row, but the slope against retraining need not be 1, because
    curvature is ignored. Cost: per state one gradient of the batch drawn there, one of
    the queries if ``query="checkpoint"``, and per query one forward-mode pass over the rows.

    References
    ----------
    arXiv:2507.04059, theorem 4.6 and algorithm 2 (its sign is turned, see ``PathSum``).

    Examples
    --------
    >>> from sam_attribution.methods import GIF
    >>> GIF(query="checkpoint", n_checkpoints=5)
    GIF(n_checkpoints=5, query='checkpoint')
    """

    def __init__(self, *, query="final", n_checkpoints=10, rates="plain"):
        self.query = query
        self.n_checkpoints = n_checkpoints
        self.rates = rates

    _parameter_constraints = {
        "query": [StrOptions({"final", "checkpoint"})],
        "n_checkpoints": [Interval(Integral, 1, None, closed="left"), None],
        "rates": [StrOptions({"plain", "effective"})],
    }

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
