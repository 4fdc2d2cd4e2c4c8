"""TracIn: gradient products along the training, by default without SAM's perturbation."""

from numbers import Integral

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method
from sam_attribution.methods._path_sum import PathSum
from sam_attribution.methods._row_point import AT
from sam_attribution.problem import check_keeps_states


class TracIn(Method):
    """Sum over checkpoints of rate times <query gradient, row gradient>, by default both at ``w``.

    This is the usual method for models trained without SAM. :class:`GIF` is the same sum with
    the row gradients at the points where SAM takes them.

    Parameters
    ----------
    n_checkpoints : "recorded", int or None, default="recorded"
        Number of stretches of the training, each represented by its middle state; None visits
        every step, where a row counts in its own batches only. See :class:`GIF`.
    at : {"w", "w+eps"}, default="w"
        Point of row gradients: each state, or the point where SAM took its gradient there (of the
        recorded batch), which is ``GIF(query="checkpoint")``. Query gradients are always taken at
        the state.

    Notes
    -----
    The unit is nats per removed row, but the slope against retraining need not be 1. Cost: per
    state one gradient of the queries, and one forward-mode pass over the rows per query.

    References
    ----------
    Pruthi et al., Estimating Training Data Influence by Tracing Gradient Descent,
    arXiv:2002.08484.

    Examples
    --------
    >>> from sam_attribution.methods import TracIn
    >>> TracIn(n_checkpoints=5)
    TracIn(n_checkpoints=5)
    """

    def __init__(self, *, n_checkpoints="recorded", at="w"):
        self.n_checkpoints = n_checkpoints
        self.at = at

    _parameter_constraints = {
        "n_checkpoints": [
            StrOptions({"recorded"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "at": AT,
    }

    def check_model(self, problem, optimizer):
        check_keeps_states(problem)

    def prepare(self, problem):
        """Check the settings against the recorded training (ValueError)."""
        check_parameters(self)
        return PathSum(
            problem,
            query="checkpoint",
            n_checkpoints=self.n_checkpoints,
            rates="plain",
            at=self.at,
        )
