"""The epoch of each training step, from skorch's history."""

import numpy as np


def ends_of_epochs(history):
    """Number of steps taken at the end of each epoch, an array."""
    return np.cumsum(
        [sum("train_batch_size" in batch for batch in epoch["batches"]) for epoch in history],
        dtype=np.int64,
    )


def epoch_of(step, ends):
    """Epoch, counted from 0, of a step; of the state after the last step the last epoch."""
    return max(0, min(int(np.searchsorted(ends, step, side="right")), len(ends) - 1))
