"""The SAM gradient as a pure function."""

from collections.abc import Callable

import torch
from torch import Tensor

from sam_attribution.perturbation import Perturbation

Buffers = dict[str, Tensor]
BatchLoss = Callable[[Tensor, Buffers, Tensor], tuple[Tensor, Buffers]]


def sam_gradient(
    loss: BatchLoss,
    params: Tensor,
    buffers: Buffers,
    row_weights: Tensor,
    perturbation: Perturbation,
    rho: float,
) -> tuple[Tensor, Buffers]:
    """Gradient of the batch loss at ``w + eps(w, g)``, and the buffers after the step.

    Parameters
    ----------
    loss : callable
        ``loss(params, buffers, row_weights) -> (mean loss, new buffers)``; changes nothing
        that it is given.
    params : Tensor of shape (n_params,)
    buffers : dict of str to Tensor
    row_weights : Tensor of shape (n_rows,)
        1 for a row that is there, 0 for one removed. They weight both passes.
    perturbation : object with ``eps(w, g, rho)``
    rho : float
        0 takes a single pass.

    Returns
    -------
    gradient : Tensor of shape (n_params,)
    buffers : dict of str to Tensor

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412, eq. 2 and 3.
    """
    gradient_of = torch.func.grad(loss, has_aux=True)
    gradient, after = gradient_of(params, buffers, row_weights)
    if rho == 0:
        return gradient, after
    eps = perturbation.eps(params, gradient, rho)
    # batch-norm statistics stay those of the first pass
    gradient, _ = gradient_of(params + eps, after, row_weights)
    return gradient, after
