"""Whether a row's output depends on anything but the row: other rows, or chance."""

from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.problem._few_rows import distinct_rows, double_copies, trying

_N_ALONE = 3
# Parts of the largest output: kernels round batches of other sizes otherwise
_TOLERANCES = {torch.float64: 1e-4}
_TOLERANCE_OF_OTHERS = 1e-2


class _Outputs(NamedTuple):
    """Outputs of the same rows: together, together once more, and the first of them alone."""

    together: Tensor
    again: Tensor
    alone: Tensor


def check_row_independence(module, X):
    """Raise a ValueError if a module, in evaluation mode, is random or couples the rows of a batch.

    A few rows of `X` pass through a copy, together, once more, and alone.
    """
    outputs = _outputs(module, distinct_rows(X))
    if outputs is None:
        return
    together, again, alone = outputs
    tolerance = _TOLERANCES.get(together.dtype, _TOLERANCE_OF_OTHERS)
    name = type(module).__name__
    if _differ(together, again, tolerance):
        raise ValueError(
            f"module {name} gives the same rows other outputs when it is called again, in "
            "evaluation mode: its forward pass is random, or remembers what it was called with. "
            "Let it depend on its input alone in evaluation mode, as "
            "F.dropout(x, p, self.training) and nn.Dropout do."
        )
    if _differ(together[: len(alone)], alone, tolerance):
        raise ValueError(
            f"module {name} gives a row another output alone than together with other rows, in "
            "evaluation mode: its forward pass couples the rows of a batch, as a mean or maximum "
            "over the batch does (or attention with batch_first=False). Take statistics over the "
            "entries of a row, as nn.LayerNorm does, or running ones, as nn.BatchNorm1d does."
        )


def _outputs(module, X):
    """None if the module does not run; the passes that follow say why."""
    for twin, rows in double_copies(module, X):
        try:
            with torch.no_grad(), trying(X.device):
                together, again = twin(rows), twin(rows)
                alone = torch.cat([twin(row) for row in rows[:_N_ALONE].split(1)])
        except Exception:  # of the user's module, which may raise anything
            continue
        parts = (together, again, alone)
        if all(torch.is_tensor(part) and len(part) for part in parts):
            return _Outputs(*parts)
    return None


def _differ(outputs, others, tolerance):
    if outputs.shape != others.shape:
        return True
    known = outputs.isfinite()  # a net may have diverged
    distance = (outputs - others).nan_to_num(torch.inf, torch.inf, torch.inf)[known].abs()
    scale = outputs[known].abs().max() if known.any() else 0.0
    return bool((distance > tolerance * scale).any())
