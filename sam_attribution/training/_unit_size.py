"""Size of features and targets: learning rates are made for data of about unit size."""

import torch

from sam_attribution._rows import tensors_in

_LEAST, _MOST = 0.1, 10.0  # root mean square of the largest column


def far_from_unit_size(X, y):
    """Names of the parts that are far from unit size: "the features", "y", both or none.

    Only real numbers have a size here: class codes, token ids and images of bytes have none.
    """
    return [name for name, part in (("the features", X), ("y", y)) if _is_far(part)]


def remedy_for_divergence(X, y, rho, rows=None):
    """Advice for a training with radius `rho` that diverged on these rows, as a sentence.

    `rows` are their positions in the data, if they are known.
    """
    if (bad := _first_not_finite(X)) is not None:
        where = "" if rows is None else f", the first in row {rows[bad]} of those trained on"
        return f"X holds NaN or infinity{where}: drop these rows, or give them values."
    names = far_from_unit_size(X, y)
    ways = ["Lower lr or rho" if rho else "Lower lr"]
    if names:
        ways.append(f"scale {' and '.join(names)}")
    return f"{', or '.join(ways)}."


def _first_not_finite(X):
    """Place of the first row of a batch with NaN or infinity; None without one."""
    parts = [part for part in tensors_in(X) if isinstance(part, torch.Tensor) and part.ndim]
    found = [(~part.isfinite().reshape(len(part), -1).all(1)).nonzero().tolist() for part in parts]
    return min((rows[0][0] for rows in found if rows), default=None)


def _is_far(part):
    if not isinstance(part, torch.Tensor) or not part.is_floating_point() or not len(part):
        return False
    columns = part.detach().double().reshape(len(part), -1)
    size = float(columns.square().mean(0).max().sqrt())
    return size > _MOST or 0 < size < _LEAST
