"""A few rows, and a private copy of a module, to try what the module does before it is relied on."""

import copy
import random
from contextlib import contextmanager

import torch

from sam_attribution.training import isolated_random_state

_N_ROWS = 8
_N_LOOKED_AT = 64


def distinct_rows(X):
    """Up to 8 rows that differ from one another, of 64 that are spread over `X`."""
    spread = torch.linspace(0, len(X) - 1, min(len(X), _N_LOOKED_AT)).long()
    kept = []
    for row in X[spread.unique().to(X.device)]:
        if not any(torch.equal(row, other) for other in kept):
            kept.append(row)
        if len(kept) == _N_ROWS:
            break
    return torch.stack(kept)


def double_copies(module, X):
    """Yield copies of module and rows: in float64, and in their own precision for a second try."""
    yield copy.deepcopy(module).double(), X.double() if X.is_floating_point() else X
    yield copy.deepcopy(module), X


@contextmanager
def trying(device):
    """Context for a pass that is not part of the training: it leaves every random stream alone."""
    state = random.getstate()
    with isolated_random_state(0, device):
        try:
            yield
        finally:
            random.setstate(state)
