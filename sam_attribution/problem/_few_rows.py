"""A few rows, and a copy of a module, to try what the module does before a score relies on it."""

from itertools import product
from typing import NamedTuple

import torch
from torch import nn

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._row_source import each_tensor
from sam_attribution._rows import device_of, few_of, rows_in, tensors_in, to_dtype
from sam_attribution.training import copy_of_module, module_output, untouched_random_state

_N_ROWS = 8
_N_LOOKED_AT = 64
_STEP = 0.1


def spread_positions(n, n_wanted):
    """Up to `n_wanted` positions from the first to the last of `n`, on the CPU."""
    return torch.linspace(0, n - 1, min(n, n_wanted), dtype=torch.float64).round().long()


def distinct_rows(X):
    """Up to 8 rows that differ from one another, of 64 that are spread over `X`, as a batch."""
    if not len(X):
        return X[:]
    looked_at = few_of(X, spread_positions(len(X), _N_LOOKED_AT))
    parts, kept = tensors_in(each_tensor(torch.Tensor.cpu, looked_at)), []  # in one transfer
    for number in range(len(parts[0])):
        if not any(_are_equal(parts, number, other) for other in kept):
            kept.append(number)
        if len(kept) == _N_ROWS:
            break
    return rows_in(looked_at, kept)


def _are_equal(parts, one, other):
    return all(torch.equal(part[one], part[other]) for part in parts)


class Tried(NamedTuple):
    """A copy of a module that is used up by checks, a few rows, and its output for these."""

    module: nn.Module
    X: object
    output: object


def tried_copy(module, X):
    """A copy of module and rows, in float64 if the module knows that; None if it does not run.

    Its weights are moved a little if it runs so: a part that is switched off by a weight of 0
    before the training does not stay so.
    """
    for dtype, moves in product((torch.float64, None), (True, False)):
        try:
            with torch.no_grad(), untouched_random_state(device_of(X)):
                twin = copy_of_module(module).to(dtype)
                rows = X if dtype is None else to_dtype(X, dtype)
                if moves:
                    _move(twin)
                return Tried(twin, rows, module_output(twin, rows))
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
