"""The influence function of plain training, or of plain training at SAM's point."""

from sam_attribution._validation import StrOptions, check_parameters
from sam_attribution.curvature import BLOCKS
from sam_attribution.methods._hif import HIF, PreparedHIF, check_jacobian
from sam_attribution.methods._method import Method
from sam_attribution.methods._row_point import AT, row_point


class InfluenceFunction(Method):
    """``<query gradient, (Hessian + weight decay)^-1 row gradient> / n``, as if rho were 0.

    Parameters
    ----------
    at : {"w", "w+eps"}, default="w"
        Point of row gradients and Hessian: the trained parameters, or the point where SAM takes its
        gradient (of the full batch), which is ``HIF("fast")``. Query gradients are always taken at
        the trained parameters.
    solver : "auto" or solver, default="auto"
        See :class:`HIF`, as for the next three.
    damping : "auto" or float, default="auto"
    curvature : {"hessian", "ggn", "fisher"}, default="hessian"
    stationary : bool, default=True
    blocks : {"none", "layer"}, default="none"
        ``layer`` sets the curvature between the parameters of different modules to 0, as EK-FAC
        does, and leaves the rest unchanged.

    Notes
    -----
    The unit is nats per removed row. A SAM-trained model is not a stationary point of the plain
    loss, so this is the baseline that ignores SAM. Cost: one product with the Hessian
    is about four forward passes over the rows; ``blocks="layer"`` takes one for each layer (but
    no more than before to form the matrix, which ``solver="auto"`` does up to 1000 parameters).

    References
    ----------
    Koh & Liang, Understanding Black-box Predictions via Influence Functions,
    arXiv:1703.04730.

    Examples
    --------
    >>> from sam_attribution.methods import InfluenceFunction
    >>> InfluenceFunction(damping=0.1)
    InfluenceFunction(damping=0.1)
    """

    _parameter_constraints = {
        "at": AT,
        **{name: rule for name, rule in HIF._parameter_constraints.items() if name != "variant"},
        "blocks": [StrOptions(set(BLOCKS))],
    }

    def __init__(
        self,
        *,
        at="w",
        solver="auto",
        damping="auto",
        curvature="hessian",
        stationary=True,
        blocks="none",
    ):
        self.at = at
        self.solver = solver
        self.damping = damping
        self.curvature = curvature
        self.stationary = stationary
        self.blocks = blocks

    def check_model(self, problem, optimizer):
        """Raise a ValueError unless a product with the Hessian, and the solver, will work."""
        settings, point, blocks = self._parts(problem)
        check_jacobian(point.problem, HIF("fast", **settings), blocks)

    def prepare(self, problem):
        """Form the Hessian, choose the damping, prepare the solver (ValueError as for HIF)."""
        check_parameters(self)
        settings, point, blocks = self._parts(problem)
        left_out = None if point.problem.rho == problem.rho else "it is as if rho were 0"
        return PreparedHIF(HIF("fast", **settings), point.problem, blocks, left_out)

    def _parts(self, problem):
        """Settings of HIF, point of the rows' gradients, and blocks."""
        settings = self.get_params(deep=False)
        point, blocks = row_point(problem, settings.pop("at")), settings.pop("blocks")
        return settings, point, blocks
