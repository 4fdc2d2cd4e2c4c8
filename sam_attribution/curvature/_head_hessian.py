"""Curvatures in the last linear layer alone: closed form, given the layer's input."""

import torch

from sam_attribution.curvature._logit_curvature import gradient_products, loss_curvature
from sam_attribution.curvature._loss_checks import check_loss_curves
from sam_attribution.linalg import LinearOperator, check_memory


class _HeadCurvature(LinearOperator):
    """A curvature of the mean training loss in the numbers of ``problem.head``, at one point.

    One forward pass to make; a product then costs two products with the layer's input, which is
    held.
    """

    def __init__(self, problem, point):
        super().__init__(point[problem.selected], symmetric=True)
        self.problem = problem
        _check_memory(problem)
        named = problem.layout.unflatten(point)
        parts = [
            problem.head.features(named, problem.buffers, problem.X[rows])
            for rows in problem.chunks(None)
        ]
        self._logits, self._features = (torch.cat(part) for part in zip(*parts, strict=True))

    def matvec(self, v):
        problem = self.problem
        padded = v.new_zeros(problem.layout.size)
        padded[problem.selected] = v
        tangents = problem.head.tangents(self._features, padded[:, None])[:, :, 0]
        rows = torch.arange(len(tangents), device=v.device)
        back = self._in_logits(problem, self._logits, rows)(tangents)
        product = problem.head.gradient(self._features, back)
        return product[problem.selected] / problem.total_weight


def _check_memory(problem):
    """Raise a ValueError if the layer's inputs and outputs, made in parts, would not fit."""
    per_row = sum(problem.head.shape)
    n_bytes = 2 * len(problem.y) * per_row * problem.params.element_size()
    what = f"the last layer's input and output for {len(problem.y)} rows"
    check_memory(n_bytes, problem.params.device, what, 'Use "gif" or "ekfac".')


class HeadHessian(_HeadCurvature):
    """Hessian of the mean training loss in the numbers of ``problem.head``, at one point.

    The logits are linear in these, so it is the Gauss-Newton matrix as well.
    """

    _in_logits = staticmethod(loss_curvature)

    def __init__(self, problem, point):
        check_loss_curves(problem)
        super().__init__(problem, point)


class HeadFisher(_HeadCurvature):
    """Second moment of the rows' gradients in the numbers of ``problem.head``, at one point."""

    _in_logits = staticmethod(gradient_products)
