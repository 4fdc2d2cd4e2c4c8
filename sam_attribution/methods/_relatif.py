"""RelatIF: influence relative to the total effect of a row on the model."""

import torch

from sam_attribution._validation import StrOptions, check_parameters
from sam_attribution.linalg import Arnoldi, is_small
from sam_attribution.methods._hif import HIF
from sam_attribution.methods._influence_function import InfluenceFunction
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.probes import RelativeProbe


class RelatIF(Method):
    """``<query gradient, H^-1 g> / sqrt(<g, H^-1 g>)``, g the row's gradient.

    This is the influence per unit of change that the row makes to the model, so that rows with a
    large overall effect (outliers, wrong labels) do not rank first for every query.

    Parameters
    ----------
    influence : Method, optional
        Method that gives the matrix H and the point of the row gradients:
        :class:`InfluenceFunction`, ``HIF("fast")`` or :class:`EKFAC`. None is
        ``InfluenceFunction()`` up to 1000 attributed parameters, above with ``solver=Arnoldi()``,
        whose solves take one product.
    normalize : {"loss", "parameters"}, default="loss"
        ``loss`` divides by the root of ``<g, H^-1 g>``, which is to second order the rise of the
        training loss without the row; ``parameters`` by ``||H^-1 g||``, the change of the weights.

    Notes
    -----
    Scores have no unit: trust sign and order. Cost beyond that of `influence`: the gradient of each
    row for every label (``attribute``: for its own), 256 MiB at a time, and a solve with each. A
    solve takes no pass over the rows with ``EKFAC()`` and with ``linalg.Arnoldi(measured=False)``,
    which does not report its residual; ``linalg.GMRES`` takes some tens of passes.

    References
    ----------
    Barshan, Brunet & Dziugaite, RelatIF: Identifying Explanatory Training Samples via Relative
    Influence, arXiv:2003.11630.

    Examples
    --------
    >>> from sam_attribution.methods import EKFAC, RelatIF
    >>> RelatIF(EKFAC(), normalize="parameters")
    RelatIF(influence=EKFAC(), normalize='parameters')
    """

    def __init__(self, influence=None, *, normalize="loss"):
        self.influence = influence
        self.normalize = normalize

    _parameter_constraints = {
        "influence": [None, Method],
        "normalize": [StrOptions({"loss", "parameters"})],
    }

    def check_model(self, problem, optimizer):
        """Raise a ValueError unless `influence` can answer for the model."""
        self._resolved(problem).check_model(problem, optimizer)

    def prepare(self, problem):
        """Prepare `influence`.

        Raises
        ------
        ValueError
            For an unknown option, or an `influence` that is no inverse times a row's gradient.
        """
        check_parameters(self)
        influence = self._resolved(problem)
        prepared = influence.prepare(problem)
        if not hasattr(prepared, "solve"):
            raise ValueError(
                "influence must be a method that inverts one matrix, InfluenceFunction(), "
                f'HIF("fast") or EKFAC(), got {influence!r}.'
            )
        return _PreparedRelatIF(prepared, self.normalize)

    def _resolved(self, problem):
        """The method that gives the matrix; a ValueError for one that moves more than weights."""
        influence = _by_default(problem) if self.influence is None else self.influence
        if isinstance(influence, HIF) and (influence.variant, influence.ascent) != ("fast", "full"):
            raise ValueError(
                "influence must move the weights by an inverse matrix times the row's gradient; "
                f"in {influence!r} a row also changes the perturbation, or counts in its own "
                'batch. Use HIF("fast").'
            )
        return influence


def _by_default(problem):
    """A method whose solves are cheap enough for every row and label."""
    size = problem.layout.size if problem.selected is None else len(problem.selected)
    return InfluenceFunction(solver="auto" if is_small(size) else Arnoldi())


class _PreparedRelatIF(Prepared):
    has_unit = False

    def __init__(self, influence, normalize):
        self._influence = influence
        self._squared_size = {"loss": self._rise, "parameters": self._way}[normalize]
        self.diagnostics = influence.diagnostics
        self.diagnostics["scale"] = "no unit: trust sign and order"

    def probes(self, queries):
        (probe,) = self._influence.probes(queries)
        point, directions, buffers = probe.point, probe.directions, probe.buffers
        return [RelativeProbe(point, directions, buffers, squared_size=self._squared_size)]

    def _way(self, gradients):
        """``||H^-1 g||**2`` of every column."""
        return self._influence.solve(gradients).square().sum(0)

    def _rise(self, gradients):
        """``<g, H^-1 g>`` of every column."""
        solved = self._influence.solve(gradients)
        rise = (gradients * solved).sum(0)
        sizes = torch.linalg.vector_norm(gradients, dim=0) * torch.linalg.vector_norm(solved, dim=0)
        if (rise < -(torch.finfo(rise.dtype).eps ** 0.5) * sizes).any():
            raise ValueError(
                'normalize="loss" needs a positive definite matrix; with the inverse of this one '
                f"a row's gradient has the quadratic form {float(rise.min()):.2e}. Raise the "
                'damping, or use curvature="ggn" or normalize="parameters".'
            )
        return rise.clamp(min=0)
