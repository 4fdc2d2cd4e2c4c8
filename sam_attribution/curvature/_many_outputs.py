"""Check that a row has not too many outputs for a method that goes backward from each."""

import torch

from sam_attribution.linalg import check_memory

_MOST = 1024
_MATRICES = 3  # a Hessian, its eigenvectors and its root


def check_few_outputs(problem):
    """Raise a ValueError if a row has too many outputs, or their Hessians would not fit.

    With classes there is nothing to check: there are as many as logits.
    """
    if problem.n_classes is not None:
        return
    with torch.no_grad():
        n = problem.logits(problem.params, problem.buffers, problem.X[:1]).shape[1]
    instead = (
        'Use "gif", "hif" or InfluenceFunction(curvature="ggn"), which need one backward pass '
        "for all of them."
    )
    if n > _MOST:
        raise ValueError(
            f"module gives {n} numbers for a row, and this method needs a backward pass for each "
            f"of them. It supports at most {_MOST}. {instead}"
        )
    n_bytes = 8 * _MATRICES * min(problem.rows_per_pass, len(problem.y)) * n**2
    what = f"the loss's curvature in {n} outputs of each row of a pass"
    check_memory(n_bytes, problem.params.device, what, instead)
