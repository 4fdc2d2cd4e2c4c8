"""Check that a row's output depends on the row alone, not on other rows or on chance."""

from typing import NamedTuple

import torch
from torch import Tensor

from sam_attribution.training import untouched_random_state

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

    The rows `X`, a few that differ, pass through it together, once more, and alone.
    """
    outputs = _outputs(module, X)
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
    """None if the module does not run with a single row; the passes that follow say why."""
    try:
        with torch.no_grad(), untouched_random_state(X.device):
            together, again = module(X), module(X)
            alone = torch.cat([module(row) for row in X[:_N_ALONE].split(1)])
    except Exception:  # of the user's module, which may raise anything
        return None
    parts = (together, again, alone)
    return _Outputs(*parts) if all(torch.is_tensor(part) for part in parts) else None


def _differ(outputs, others, tolerance):
    if outputs.shape != others.shape:
        return True
    known = outputs.isfinite()  # a net may have diverged
    distance = (outputs - others).nan_to_num(torch.inf, torch.inf, torch.inf)[known].abs()
    scale = outputs[known].abs().max() if known.any() else 0.0
    return bool((distance > tolerance * scale).any())
