"""A few rows, and a copy of a module, to try what the module does before a score relies on it."""

import torch

from sam_attribution.training import copy_of_module, untouched_random_state

_N_ROWS = 8
_N_LOOKED_AT = 64


def distinct_rows(X):
    """Up to 8 rows that differ from one another, of 64 that are spread over `X`."""
    like = {"dtype": torch.float64, "device": X.device}
    spread = torch.linspace(0, len(X) - 1, min(len(X), _N_LOOKED_AT), **like).long()
    kept = []
    for row in X[spread]:
        if not any(torch.equal(row, other) for other in kept):
            kept.append(row)
        if len(kept) == _N_ROWS:
            break
    return torch.stack(kept)


def running_copy(module, X):
    """A copy of module and rows in float64, or as they are if the module knows no float64.

    None if the module does not run.
    """
    for dtype in (torch.float64, None):
        twin = copy_of_module(module).to(dtype)
        rows = X.to(dtype) if X.is_floating_point() else X
        try:
            with torch.no_grad(), untouched_random_state(X.device):
                twin(rows)
        except Exception:  # of the user's module, which may raise anything
            continue
        return twin, rows
    return None
