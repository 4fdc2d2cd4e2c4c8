"""Second derivatives of the mean training loss, as operators on the flat vector."""

import torch

from sam_attribution.curvature._logit_curvature import gradient_products, loss_curvature
from sam_attribution.linalg import ColumnOperator, Scaled
from sam_attribution.problem import differentiable_kernels

# Each column holds the activations of a pass of its own; fewer at once do not fill the processor
_PASSES_AT_ONCE = 8


class _Curvature(ColumnOperator):
    """A symmetric curvature of the weighted mean loss, or of the share that `rows` have in it."""

    def __init__(self, problem, point, rows=None):
        super().__init__(point, symmetric=True)
        self.problem = problem
        self.point = point
        self._rows = rows

    def matmat(self, columns):
        total = torch.zeros_like(columns)
        with differentiable_kernels(self.problem.module):
            for rows in self.problem.chunks(self._rows):
                at_once = max(1, _PASSES_AT_ONCE * self.problem.auto_rows_per_pass // len(rows))
                product = torch.vmap(self._product(rows), 1, 1, chunk_size=at_once)
                total += product(columns)
        return total / self.problem.total_weight

    def sampled(self, n_rows, generator):
        n_all = len(self.problem.y if self._rows is None else self._rows)
        rows = torch.randperm(n_all, generator=generator)[:n_rows].to(self.point.device)
        part = rows if self._rows is None else self._rows[rows]
        return Scaled(type(self)(self.problem, self.point, part), n_all / len(rows))

    def _product(self, rows):
        """Unnormalised product of one vector with the curvature of some rows."""
        raise NotImplementedError


class Hessian(_Curvature):
    """Hessian of the mean training loss: exact, symmetric, often indefinite.

    A product costs about four forward passes over the training rows.
    """

    def _product(self, rows):
        def loss(w):
            return self.problem.weighted_loss(w, self.problem.buffers, rows)

        product = torch.func.vjp(torch.func.grad(loss), self.point)[1]
        return lambda v: product(v)[0]


class _ThroughLogits(_Curvature):
    """``sum_i a_i J_i' M_i J_i``, J_i the Jacobian of the logits, with some matrix M_i in them."""

    def _product(self, rows):
        problem = self.problem

        def logits(params):
            return problem.logits(params, problem.buffers, problem.X[rows])

        z, back = torch.func.vjp(logits, self.point)
        middle = self._in_logits(problem, z, rows)

        def apply(v):
            dz = torch.func.jvp(logits, (self.point,), (v,))[1]
            return back(middle(dz))[0]

        return apply


class GaussNewton(_ThroughLogits):
    """Generalised Gauss-Newton matrix of the mean training loss: positive semi-definite.

    ``sum_i a_i J_i' (d2 l_i / d logits2) J_i``, with J_i the Jacobian of the logits.
    """

    _in_logits = staticmethod(loss_curvature)


class EmpiricalFisher(_ThroughLogits):
    """Second moment of the rows' gradients: positive semi-definite, of rank n at most.

    ``sum_i a_i g_i g_i' / total_weight`` with ``g_i = grad l_i``, the label being the one that the
    row has; a class weight, which g_i contains, counts once, as if it were a sample weight. (With
    labels drawn from the model's own probabilities it would be the Gauss-Newton matrix; where every
    row is fitted it is 0, and the Hessian is not.)

    Notes
    -----
    A product costs about four forward passes over the training rows; no row's gradient ever exists.

    References
    ----------
    Kunstner, Balles & Hennig, Limitations of the Empirical Fisher Approximation,
    arXiv:1905.12558.
    """

    _in_logits = staticmethod(gradient_products)
