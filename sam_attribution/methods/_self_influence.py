"""Self-influence along the training: the effect of each row on its own loss."""

from numbers import Integral

import torch

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._rates import plain_rates
from sam_attribution.methods._row_point import AT
from sam_attribution.probes import SquaredNormProbe, check_row_norms
from sam_attribution.problem import check_keeps_states, check_recorded, warn_of_other_losses


class SelfInfluence(Method):
    """Minus the sum over checkpoints of rate times the squared norm of the row's gradient.

    This is the score that :class:`TracIn` gives a row on its own loss, **negated**: memorised rows
    (rare or mislabelled), whose loss is low only because they were trained on, get the lowest
    scores, as in every ranking here. The method uses no validation rows, and so has no
    ``attribute``.

    Parameters
    ----------
    n_checkpoints : "recorded" or int, default="recorded"
        Number of stretches of the training, each represented by its middle state, see
        :class:`GIF`.
    at : {"w", "w+eps"}, default="w"
        Point of the row's gradient: each state, or the point where SAM took its gradient there (of
        the recorded batch). Both factors of the square are taken there; ``TracIn(at="w+eps")``
        takes the row's own loss at the state.

    Notes
    -----
    The unit is nats per removed row, of the row's own training loss (class weights included).
    Cost: per state a backward pass per row and class, or one forward pass over the rows with
    ``parameters="head"``; ``at="w+eps"`` adds the gradient of a batch.

    References
    ----------
    Pruthi et al., Estimating Training Data Influence by Tracing Gradient Descent,
    arXiv:2002.08484, section 4.1.

    Examples
    --------
    >>> from sam_attribution.methods import SelfInfluence
    >>> SelfInfluence(n_checkpoints=5)
    SelfInfluence(n_checkpoints=5)
    """

    answers_queries = False

    def __init__(self, *, n_checkpoints="recorded", at="w"):
        self.n_checkpoints = n_checkpoints
        self.at = at

    _parameter_constraints = {
        "n_checkpoints": [StrOptions({"recorded"}), Interval(Integral, 1, None, closed="left")],
        "at": AT,
    }

    def check_model(self, problem, optimizer):
        """Raise a ValueError unless states are kept and a row's gradient can be measured alone."""
        check_keeps_states(problem)
        check_row_norms(problem)

    def prepare(self, problem):
        """Check the settings against the recorded training (ValueError)."""
        check_parameters(self)
        check_recorded(problem)
        if self.at == "w+eps":
            warn_of_other_losses(problem)
        return _PreparedSelfInfluence(self, problem)


class _PreparedSelfInfluence(Prepared):
    answers_queries = False
    along_training = True

    def __init__(self, method, problem):
        self._problem = problem
        self._n_checkpoints = method.n_checkpoints
        self._at = method.at
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit} of the row's own loss, negated; curvature is "
            "ignored: trust the order",
            "steps": problem.path.n_steps,
            "steps_repeated": problem.path.n_repeated(method.n_checkpoints),
        }

    def probes(self, queries):
        path = self._problem.path
        points = path.checkpoints(self._n_checkpoints, plain_rates(path))
        if self._at == "w":
            return [self._negated(point) for point in points]
        return [self._negated(part) for point in points for part in point.in_parts(self._problem)]

    def _negated(self, point):
        directions, rate = point.scaled(torch.ones_like(point.params)[:, None])
        return SquaredNormProbe(
            point=point.row_params(self._problem, self._at),
            directions=directions,
            buffers=point.buffers,
            rate=-rate,
            steps=point.steps,
            epoch=self._problem.epoch_for(point.epoch),
        )
