"""DataInf: an inverse that is a mean of rank-one inverses."""

from numbers import Real

import torch

from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.probes import Probe
from sam_attribution.problem import (
    attributed_names,
    parameters_without,
    row_gradients,
    unused_parameters,
)

_FRACTION = 0.1


class DataInf(Method):
    """The influence function with ``mean_i (g_i g_i' + damping)^-1`` in place of the inverse.

    The empirical Fisher matrix is a mean of ``g_i g_i'`` over the rows. DataInf exchanges the order
    of mean and inverse, separately for each parameter (a layer's weight and its bias are two), and
    computes every inverse by the Sherman-Morrison formula.

    Parameters
    ----------
    at : {"w", "w+eps"}, default="w"
        Point of row gradients: the trained parameters, or the point where SAM takes its gradient
        (of the full batch). Query gradients are always taken at the trained parameters.
    damping : "auto" or float, default="auto"
        ``auto`` is a tenth of the mean square of a row's gradient entries, for each parameter.

    Notes
    -----
    The unit is nats per removed row, its size up to the damping. Cost: the gradient of each row
    alone, twice (``damping`` given: once) and once more for every set of queries, some MiB of them
    at a time; then one forward-mode pass per query. Sample and class weights count in the means;
    weight decay does not.

    References
    ----------
    Kwon et al., DataInf, arXiv:2310.00902.

    Examples
    --------
    >>> from sam_attribution.methods import DataInf
    >>> DataInf(damping=0.1)
    DataInf(damping=0.1)
    """

    def __init__(self, *, at="w", damping="auto"):
        self.at = at
        self.damping = damping

    _parameter_constraints = {
        "at": AT,
        "damping": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def check_model(self, problem, optimizer):
        """Raise a ValueError for parameters that the module does not use."""
        if self.damping == "auto":
            unused = unused_parameters(problem)
            _check_used(problem, [name for name in _attributed_spans(problem) if name in unused])

    def prepare(self, problem):
        """Measure the rows' gradients, parameter by parameter.

        Raises
        ------
        ValueError
            For an unknown option, or a parameter in which no row has a gradient.
        """
        check_parameters(self)
        return _PreparedDataInf(self, problem)


class _PreparedDataInf(Prepared):
    def __init__(self, method, problem):
        self._problem = problem
        self._point = row_point(problem, method.at).perturbed
        self._spans = _attributed_spans(problem)
        self._shares = problem.denominators / problem.total_weight
        self._dampings = self._choose(method.damping)
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit}, of a size that the damping sets: trust sign and "
            "order",
            "damping": max(self._dampings),
            "damping_reason": f"{_FRACTION} of the mean square of each parameter's gradient "
            "entries; the largest is shown"
            if method.damping == "auto"
            else "given",
        }

    def _choose(self, damping):
        if damping != "auto":
            return [float(damping)] * len(self._spans)
        total = self._point.new_zeros(len(self._spans))
        for rows, gradients in self._gradients():
            squares = [gradients[:, span].square().mean(1) for span in self._spans.values()]
            total += torch.stack(squares) @ self._shares[rows]
        measured = zip(self._spans, total, strict=True)
        _check_used(self._problem, [name for name, each in measured if each == 0])
        return [_FRACTION * float(each) for each in total]

    def _gradients(self):
        """Row gradients without class weights, which count in the means as sample weights do."""
        sizes = self._problem.class_sizes
        for rows, gradients in row_gradients(self._problem, self._point):
            size = sizes[rows, None]
            yield rows, gradients / torch.where(size == 0, 1.0, size)

    def probes(self, queries):
        problem = self._problem
        v = queries.directions(problem.params, problem.buffers)
        corrections = torch.zeros_like(v)
        for rows, gradients in self._gradients():
            for span, damping in zip(self._spans.values(), self._dampings, strict=True):
                g = gradients[:, span]
                along = g @ v[span] / (damping + g.square().sum(1, keepdim=True))
                corrections[span] += g.T @ (self._shares[rows, None] * along)
        u = torch.zeros_like(v)
        for span, damping in zip(self._spans.values(), self._dampings, strict=True):
            u[span] = (v[span] - corrections[span]) / damping
        return [Probe(self._point, u, problem.buffers)]


def _check_used(problem, still):
    if not still:
        return
    setting = parameters_without(problem, still)
    leave_out = "G" if setting is None else f"Leave them out by {setting}, or g"
    raise ValueError(
        f'no row has a gradient in {still}, so damping="auto" is not defined there. '
        f"{leave_out}ive damping, such as DataInf(damping=0.1)."
    )


def _attributed_spans(problem):
    """Slices of the parameters that are attributed, by name."""
    return {name: problem.layout.slices[name] for name in attributed_names(problem)}
