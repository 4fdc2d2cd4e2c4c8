"""Grad-Cos: the cosine between gradients at the final parameters."""

from dataclasses import replace

from sam_attribution._validation import check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.probes import CosineProbe, check_row_norms


class GradCos(Method):
    """Cosine of the query gradient and the row gradient at the final parameters.

    Parameters
    ----------
    at : {"w", "w+eps"}, default="w"
        Point of row gradients: the trained parameters, or the point where SAM takes its gradient
        (of the full batch). Query gradients are always taken at the trained parameters.

    Notes
    -----
    Scores are between -1 and 1: trust sign and order only. Under Grad-Dot a row that is already
    fitted hardly counts, because its gradient is small; here every row counts alike. The score
    against the mean of the validation rows is not the mean of the scores against each. Cost: one
    gradient and one forward-mode pass over the rows per query, and the norms of the rows'
    gradients: a backward pass per row and class, or nothing with ``parameters="head"``.

    References
    ----------
    Hanawa et al., Evaluation of Similarity-based Explanations, arXiv:2006.04528.

    Examples
    --------
    >>> from sam_attribution import SAMInfluence
    >>> SAMInfluence(method="grad-cos", parameters="head")
    SAMInfluence(method='grad-cos', parameters='head')
    """

    _parameter_constraints = {"at": AT}

    def __init__(self, *, at="w"):
        self.at = at

    def check_model(self, problem, optimizer):
        """Raise a ValueError unless the gradient of a row alone can be measured."""
        check_row_norms(problem)

    def prepare(self, problem):
        """Compute the point where row gradients are taken (ValueError for another `at`)."""
        check_parameters(self)
        return _PreparedGradCos(problem, self.at)


class _PreparedGradCos(Prepared):
    has_unit = False

    def __init__(self, problem, at):
        self._problem = problem
        self._point = row_point(problem, at).perturbed
        self.diagnostics = {"scale": "a cosine: trust sign and order"}

    def probes(self, queries):
        w, buffers = self._problem.params, self._problem.buffers
        unit = replace(queries, normalize=True).directions(w, buffers)
        return [CosineProbe(self._point, unit, buffers)]
