"""The Hessian in the last linear layer alone: closed form, given the layer's input."""

import torch

from sam_attribution.linalg import LinearOperator


class HeadHessian(LinearOperator):
    """Hessian of the mean training loss in the numbers of ``problem.head``, at one point.

    The logits are linear in these, so it is the Gauss-Newton matrix as well. One forward pass to
    make; a product then costs two products with the layer's input, which is held.

    Parameters
    ----------
    problem : Problem
        With a head.
    point : Tensor of shape (n_params,)
    """

    def __init__(self, problem, point):
        super().__init__(point[problem.selected], symmetric=True)
        self.problem = problem
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
        back = torch.func.jvp(torch.func.grad(self._loss), (self._logits,), (tangents,))[1]
        product = problem.head.gradient(self._features, back)
        return product[problem.selected] / problem.total_weight

    def _loss(self, logits):
        problem = self.problem
        return problem.weights @ problem.row_loss.per_sample(logits, problem.y)
