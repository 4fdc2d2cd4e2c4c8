"""Square roots of the loss's curvature in the logits, for Gauss-Newton matrices."""

import torch

from sam_attribution.curvature._logit_curvature import loss_hessians
from sam_attribution.curvature._loss_checks import check_not_negative
from sam_attribution.linalg import symmetric_eigen
from sam_attribution.problem import CrossEntropyRows


def exact_roots(problem, logits, rows):
    """Columns (n, n_classes) of roots R with ``R R'`` the Hessian of each row's loss in its logits.

    For cross-entropy column c is ``sqrt(p_c) (e_c - p)``: what label c would pull, times the root
    of its probability. A ValueError if a loss is not convex in its logits.
    """
    if isinstance(problem.row_loss, CrossEntropyRows):
        p, size = logits.softmax(1), _label_sizes(problem, rows)
        for label in range(logits.shape[1]):
            yield (size * p[:, label, None]).sqrt() * (_one_hot(logits, label) - p)
    else:
        yield from loss_roots(problem, logits, problem.y[rows]).unbind(2)


def drawn_roots(problem, logits, rows, n_draws, generator):
    """Random columns (n, n_classes) whose outer products have the same Hessian for their mean.

    Labels are drawn from the model's own probabilities for cross-entropy; for other losses the
    columns of the exact root are added up with random signs. `n_draws` of them, each divided by
    ``sqrt(n_draws)``.
    """
    if isinstance(problem.row_loss, CrossEntropyRows):
        p, size = logits.softmax(1), _label_sizes(problem, rows)
        drawn = torch.multinomial(p.cpu(), n_draws, replacement=True, generator=generator)
        for labels in drawn.to(p.device).T:
            yield (size / n_draws).sqrt() * (_one_hot(logits, labels) - p)
    else:
        R = loss_roots(problem, logits, problem.y[rows])
        for _ in range(n_draws):
            signs = torch.randint(2, R.shape[::2], generator=generator).to(R) * 2 - 1
            yield torch.einsum("ncr,nr->nc", R, signs) / n_draws**0.5


def _label_sizes(problem, rows):
    """Sum of the weights that labels have in a row's loss, shape (n, 1)."""
    sizes, row_loss = problem.class_sizes[rows, None], problem.row_loss
    if row_loss.class_weight is None:
        return sizes
    # the smoothed part is weighted by the class it is given to
    smoothing = row_loss.label_smoothing
    return (1 - smoothing) * sizes + smoothing * row_loss.class_weight.mean()


def _one_hot(logits, labels):
    hot = torch.zeros_like(logits)
    hot[torch.arange(len(logits), device=logits.device), labels] = 1.0
    return hot


def loss_roots(problem, output, y):
    """Symmetric roots of the Hessian of each row's loss in its outputs, (n, k, k), by autodiff.

    A ValueError if the loss is not convex there. In float64: where a prediction is nearly
    certain the Hessian is a difference of near numbers.
    """
    targets = y.double() if y.is_floating_point() else y
    curved = loss_hessians(problem.row_loss.in_double_precision(), output.double(), targets)
    values, vectors = symmetric_eigen(curved, "the criterion's curvature in the module's output")
    check_not_negative(problem, values)
    return (vectors * values.clamp(min=0).sqrt()[:, None]).to(output)
