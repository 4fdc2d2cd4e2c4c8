"""What TRAK linearises: the margin of each row, or every number that the module puts out."""

from functools import partial

import torch

from sam_attribution.curvature import loss_roots
from sam_attribution.problem import margin


def features(problem, weighted):
    """Functions (output, y) -> (n,) whose gradients in the parameters are the rows of Phi.

    With classes it is one, the margin; `weighted` multiplies its gradient by the root of
    ``p (1 - p)``. Without, there is one for each output; `weighted` turns the outputs by the root
    of the second derivative of the row's loss, so that ``Phi' Phi`` is n times the Gauss-Newton
    matrix.
    """
    if problem.n_classes is not None:
        return [partial(_margin, problem, weighted)]
    with torch.no_grad():
        n_outputs = problem.logits(problem.params, problem.buffers, problem.X[:1]).shape[1]
    feature = partial(_turned, problem) if weighted else _output
    return [partial(feature, number) for number in range(n_outputs)]


def _margin(problem, weighted, output, y):
    """``log p / (1 - p)`` of the row's own class."""
    own = -margin(problem.row_loss.to_logits(output), y)
    if not weighted:
        return own
    p = own.detach().double().sigmoid()
    return (p * (1 - p)).sqrt().to(own) * own


def _output(number, output, y):
    return output[:, number]


def _turned(problem, number, output, y):
    roots = loss_roots(problem, output.detach(), y)
    return (roots[:, :, number] * output).sum(1)
