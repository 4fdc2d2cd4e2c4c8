"""The network that is trained when the user names none."""

from torch import nn


class MLP(nn.Sequential):
    """One hidden layer with GELU, which is smooth as influence methods want it.

    Parameters
    ----------
    n_features : int
        Numbers per row; images are flattened.
    n_outputs : int
        Number of logits, or 1 for a regressor.
    n_hidden : int, default=32
        Width of the hidden layer.
    """

    def __init__(self, n_features, n_outputs, n_hidden=32):
        super().__init__(
            nn.Flatten(),
            nn.Linear(n_features, n_hidden),
            nn.GELU(),
            nn.Linear(n_hidden, n_outputs),
        )
