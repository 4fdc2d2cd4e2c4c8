"""Number of rows that go through the model at once: a fixed rule of model, shapes and device."""

import torch
from torch import nn

from sam_attribution._rows import numbers_in
from sam_attribution.training import arguments_for

# Numbers that one layer sweep may hold. On a CPU they should fit its caches: a small CNN's
# jvp is three times slower per row at 500 rows than at 64.
_ACTIVATIONS = {"cpu": 2**22, "cuda": 2**28}
_MAX_ROWS = 1024


def auto_batch_size(module, X):
    """Rows per forward pass for scoring, 1 to 1024: the same at every call (no timing involved).

    `module` is in evaluation mode; of `X` only the first row is used.
    """
    budget = _ACTIVATIONS.get(X.device.type, _ACTIVATIONS["cuda"])
    return max(1, min(_MAX_ROWS, budget // max(1, activations_per_row(module, X))))


def activations_per_row(module, X):
    """Numbers that the leaf layers put out for one row."""
    row = X[:1]
    counts = [numbers_in(row)]
    args, kwargs = arguments_for(module, row)

    def count(_module, _inputs, output):
        counts.extend([output.numel()] if torch.is_tensor(output) else [])

    leaves = [m for m in module.modules() if not any(True for _ in m.children())]
    handles = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        with torch.no_grad():
            nn.Module.__call__(module, *args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts)
