"""Second derivatives of the mean training loss, as operators on the flat vector."""

from typing import ClassVar

import torch

from sam_attribution.curvature._logit_curvature import gradient_products, loss_curvature
from sam_attribution.curvature._loss_checks import check_loss_curves
from sam_attribution.dynamics import check_differentiable_again
from sam_attribution.linalg import ColumnOperator, Scaled
from sam_attribution.problem import (
    FirstThatWorks,
    differentiable_kernels,
    forward_mode_as_backward,
)

# Each column holds the activations of a pass of its own; fewer at once do not fill the processor
_PASSES_AT_ONCE = 8


def columns_together(curvature, rows, columns):
    """Products of some columns at once, by torch.func."""
    problem = curvature.problem
    at_once = max(1, _PASSES_AT_ONCE * problem.auto_rows_per_pass // len(rows))
    return torch.vmap(curvature.product(rows), 1, 1, chunk_size=at_once)(columns)


def column_by_column(curvature, rows, columns):
    """The same by plain double backward: hooks, counting buffers and own functions have that."""
    product = curvature.plain_product(rows)
    return torch.stack([product(v) for v in columns.T], dim=1)


def _ways():
    return FirstThatWorks("differentiated twice", columns_together, column_by_column)


class _Curvature(ColumnOperator):
    """A symmetric curvature of the weighted mean loss, or of the share that `rows` have in it."""

    ways: ClassVar[FirstThatWorks]

    def __init__(self, problem, point, rows=None):
        super().__init__(point, symmetric=True)
        self.problem = problem
        self.point = point
        self._rows = rows

    def matmat(self, columns):
        total, way = torch.zeros_like(columns), self.way()
        with differentiable_kernels(self.problem.module):
            for rows in self.problem.chunks(self._rows):
                # of instance norm torch gives products that have a graph
                total += way(self, rows, columns).detach()
        return total / self.problem.total_weight

    def way(self):
        """The way to products that the module has; a ValueError if it has none.

        It names the criterion if that has no second derivative.
        """
        one = torch.zeros(1, dtype=torch.long, device=self.problem.y.device)

        def attempt(way):
            way(self, one, torch.ones_like(self.point)[:, None])

        try:
            return self.ways.of(self.problem, attempt)
        except ValueError as error:
            check_loss_curves(self.problem)
            raise ValueError(
                f'{error} Use a method without curvature, such as "gif" or "trak".'
            ) from error

    def sampled(self, n_rows, generator):
        n_all = len(self.problem.y if self._rows is None else self._rows)
        rows = torch.randperm(n_all, generator=generator)[:n_rows].to(self.point.device)
        part = rows if self._rows is None else self._rows[rows]
        return Scaled(type(self)(self.problem, self.point, part), n_all / len(rows))

    def product(self, rows):
        """Unnormalised product of one vector with the curvature of some rows, by torch.func."""
        raise NotImplementedError

    def plain_product(self, rows):
        """The same by plain autograd."""
        raise NotImplementedError


class Hessian(_Curvature):
    """Hessian of the mean training loss: exact, symmetric, often indefinite.

    A product costs about four forward passes over the training rows.
    """

    ways = _ways()

    def product(self, rows):
        batch = self.problem.batch(rows)  # here: a tensor made inside a transform is of that alone

        def loss(w):
            return self.problem.weighted_loss(w, self.problem.buffers, rows, batch)

        product = torch.func.vjp(torch.func.grad(loss), self.point)[1]
        return lambda v: product(v)[0]

    def plain_product(self, rows):
        leaf = self.point.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.problem.weighted_loss(leaf, self.problem.buffers, rows)
            gradient = torch.autograd.grad(loss, leaf, create_graph=True)[0]
        check_differentiable_again(gradient)
        if not gradient.requires_grad:  # the loss is linear
            return torch.zeros_like
        return lambda v: torch.autograd.grad(gradient, leaf, v, retain_graph=True)[0]


class _ThroughLogits(_Curvature):
    """``sum_i a_i J_i' M_i J_i``, J_i the Jacobian of the logits, with some matrix M_i in them."""

    def product(self, rows):
        problem, X = self.problem, self.problem.X[rows]

        def logits(params):
            return problem.logits(params, problem.buffers, X)

        z, back = torch.func.vjp(logits, self.point)
        middle = self._in_logits(problem, z, rows)

        def apply(v):
            with forward_mode_as_backward():
                dz = torch.func.jvp(logits, (self.point,), (v,))[1]
            return back(middle(dz))[0]

        return apply

    def plain_product(self, rows):
        leaf = self.point.detach().requires_grad_()
        with torch.enable_grad():
            z = self.problem.logits(leaf, self.problem.buffers, self.problem.X[rows])
            u = torch.zeros_like(z, requires_grad=True)
            pulled = torch.autograd.grad(z, leaf, u, create_graph=True)[0]  # J'u, linear in u
        check_differentiable_again(pulled)
        middle = self._in_logits(self.problem, z.detach(), rows)

        def apply(v):
            dz = torch.autograd.grad(pulled, u, v, retain_graph=True)[0]
            return torch.autograd.grad(z, leaf, middle(dz), retain_graph=True)[0]

        return apply


class GaussNewton(_ThroughLogits):
    """Generalised Gauss-Newton matrix of the mean training loss: positive semi-definite.

    ``sum_i a_i J_i' (d2 l_i / d logits2) J_i``, with J_i the Jacobian of the logits.
    """

    ways = _ways()
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

    ways = _ways()
    _in_logits = staticmethod(gradient_products)
