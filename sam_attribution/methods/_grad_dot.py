"""Grad-Dot: the gradient product at the final parameters."""

from sam_attribution._validation import check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.probes import Probe


class GradDot(Method):
    """``<query gradient, row gradient> / n`` at the final parameters.

    Parameters
    ----------
    at : {"w", "w+eps"}, default="w"
        Point of row gradients: the trained parameters, or the point where SAM takes its gradient
        (of the full batch). Query gradients are always taken at the trained parameters.

    Notes
    -----
    Trust sign and order only, because no learning rate enters. Cost: one gradient and one
    forward-mode pass over the rows per query.

    References
    ----------
    Charpiat et al., Input Similarity from the Neural Network Perspective, arXiv:2102.05262.

    Examples
    --------
    >>> from sam_attribution import SAMInfluence
    >>> SAMInfluence(method="grad-dot")
    SAMInfluence(method='grad-dot')
    """

    _parameter_constraints = {"at": AT}

    def __init__(self, *, at="w"):
        self.at = at

    def prepare(self, problem):
        """Compute the point where row gradients are taken (ValueError for another `at`)."""
        check_parameters(self)
        return _PreparedGradDot(problem, self.at)


class _PreparedGradDot(Prepared):
    has_unit = False

    def __init__(self, problem, at):
        self._problem = problem
        self._point = row_point(problem, at).perturbed
        self.diagnostics = {"scale": "no unit: trust sign and order"}

    def probes(self, queries):
        w, buffers = self._problem.params, self._problem.buffers
        return [Probe(self._point, queries.directions(w, buffers), buffers)]
