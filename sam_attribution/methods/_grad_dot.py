"""Grad-Dot: the gradient product at the final parameters."""

from sam_attribution.methods._method import Method, Prepared
from sam_attribution.probes import Probe


class GradDot(Method):
    """``<query gradient, row gradient> / n`` at the final parameters.

    Notes
    -----
    Sign and order only: there is no learning rate in it. Cost: one gradient and one
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

    def prepare(self, problem):
        """Nothing to prepare."""
        return _PreparedGradDot(problem)


class _PreparedGradDot(Prepared):
    def __init__(self, problem):
        self._problem = problem
        self.diagnostics = {"scale": "no unit: trust sign and order"}

    def probes(self, queries):
        w, buffers = self._problem.params, self._problem.buffers
        return [Probe(w, queries.directions(w, buffers), buffers)]
