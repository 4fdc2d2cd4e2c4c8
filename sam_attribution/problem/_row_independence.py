"""Check that a row's output depends on the row alone, not on other rows or on chance."""

import torch

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import device_of, rows_in, single_rows
from sam_attribution.problem._nearness import entries_differ
from sam_attribution.training import (
    flat_output,
    leaves_of,
    module_output,
    untouched_random_state,
)

_N_ALONE = 2
# Parts of the largest output: kernels round batches of other sizes otherwise
_TOLERANCES = {torch.float64: 1e-4}
_TOLERANCE_OF_OTHERS = 1e-2


def check_row_independence(module, X, together):
    """Raise a ValueError if a module, in evaluation mode, is random or couples the rows of a batch.

    `together` is its output for the rows `X`, a few that differ. They pass through it once more,
    and the first of them alone.
    """
    outputs = _outputs(module, X)
    if outputs is None:
        return
    again, *alone = outputs
    flat, name = flat_output(together), type(module).__name__
    tolerance = _TOLERANCES.get(flat.dtype, _TOLERANCE_OF_OTHERS)
    if entries_differ(flat, flat_output(again), tolerance):
        raise ValueError(
            f"module {name} gives the same rows other outputs when it is called again, in "
            "evaluation mode: its forward pass is random, or remembers earlier calls. Let it "
            "depend on its input alone in evaluation mode, as F.dropout(x, p, self.training) and "
            "nn.Dropout do."
        )
    for part, single in zip(leaves_of(together), leaves_of(alone[0]), strict=True):
        _check_shape(name, part, single)
    if entries_differ(flat[: len(alone)], torch.cat([*map(flat_output, alone)]), tolerance):
        raise ValueError(
            f"module {name} gives a row another output alone than in a batch, in evaluation "
            "mode: its forward pass couples the rows of a batch, as a mean or maximum over the "
            "batch does (or attention with batch_first=False). Take statistics over the entries "
            "of a row, as nn.LayerNorm does, or running ones, as nn.BatchNorm1d does."
        )


def _outputs(module, X):
    """Outputs of all rows once more, and of single ones; None if it does not run with these."""
    try:
        with torch.no_grad(), untouched_random_state(device_of(X)):
            first = single_rows(rows_in(X, slice(_N_ALONE)))
            alone = [module_output(module, row) for row in first]
            # last: the first pass began at the same random state
            outputs = [module_output(module, X), *alone]
            leaves_of(outputs[0])
            return outputs
    except OUT_OF_MEMORY:
        raise
    except Exception:  # of the user's module, which may raise anything
        return None


def _check_shape(name, together, alone):
    wanted = (1, *together.shape[1:])
    if alone.shape != wanted:
        raise ValueError(
            f"module {name} gives a single row an output of shape {tuple(alone.shape)} instead of "
            f"{wanted}, in evaluation mode, as a squeeze that names no dimension does. Use "
            "flatten(1), or squeeze with a dimension."
        )
