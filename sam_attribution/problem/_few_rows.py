"""A few rows, and a copy of a module, to try what the module does before a score relies on it."""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution.training import copy_of_module, untouched_random_state

_N_ROWS = 8
_N_LOOKED_AT = 64
_STEP = 0.1


def spread_positions(n, n_wanted):
    """Up to `n_wanted` positions from the first to the last of `n`, on the CPU."""
    return torch.linspace(0, n - 1, min(n, n_wanted), dtype=torch.float64).round().long()


def distinct_rows(X):
    """Up to 8 rows that differ from one another, of 64 that are spread over `X`."""
    spread = spread_positions(len(X), _N_LOOKED_AT).to(X.device)
    rows, kept = X[spread].cpu(), []  # in one transfer
    for number, row in enumerate(rows):
        if not any(torch.equal(row, rows[other]) for other in kept):
            kept.append(number)
        if len(kept) == _N_ROWS:
            break
    return X[spread[kept]]


class Tried(NamedTuple):
    """A copy of a module that is used up by checks, a few rows, and its output for these."""

    module: nn.Module
    X: Tensor
    output: object


def tried_copy(module, X):
    """A copy of module and rows, in float64 if the module knows that; None if it does not run.

    Its weights are moved a little if it runs so: a part that is switched off by a weight of 0
    before the training does not stay so.
    """
    for dtype, moves in product((torch.float64, None), (True, False)):
        try:
            with torch.no_grad(), untouched_random_state(X.device):
                twin = copy_of_module(module).to(dtype)
                rows = X.to(dtype) if X.is_floating_point() else X
                if moves:
                    _move(twin)
                return Tried(twin, rows, twin(rows))
        except OUT_OF_MEMORY:
            raise
        except Exception:  # of the user's module, which may raise anything
            continue
    return None


def _move(module):
    """Add noise to trainable weights: a tenth of the size of each tensor, or of 1 where it is 0."""
    for p in module.parameters():
        if p.requires_grad:
            size = p.square().mean().sqrt()
            p.add_(_STEP * torch.where(size == 0, 1.0, size) * (2 * torch.rand_like(p) - 1))
