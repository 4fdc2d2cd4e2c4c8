"""Size of features and targets: learning rates are made for data of about unit size."""

import torch

_LEAST, _MOST = 0.1, 10.0  # root mean square of the largest column


def far_from_unit_size(X, y):
    """Names of the parts that are far from unit size: "the features", "y", both or none.

    Only real numbers have a size here: class codes, token ids and images of bytes have none.
    """
    return [name for name, part in (("the features", X), ("y", y)) if _is_far(part)]


def remedy_for_divergence(X, y, rho):
    """Advice for a training with radius `rho` that diverged on these rows, as a sentence."""
    names = far_from_unit_size(X, y)
    ways = ["Lower lr or rho" if rho else "Lower lr"]
    if names:
        ways.append(f"scale {' and '.join(names)}")
    return f"{', or '.join(ways)}."


def _is_far(part):
    if not isinstance(part, torch.Tensor) or not part.is_floating_point() or not len(part):
        return False
    columns = part.detach().double().reshape(len(part), -1)
    size = float(columns.square().mean(0).max().sqrt())
    return size > _MOST or 0 < size < _LEAST
