"""Class scores of any rows as a linear map of their features."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinearScores:
    """Scores of classes that are fitted already.

    Attributes
    ----------
    centre : Tensor of shape (n_features,)
    directions : Tensor of shape (n_features, n_classes)
    offsets : Tensor of shape (n_classes,)
    """

    centre: Tensor
    directions: Tensor
    offsets: Tensor

    def __call__(self, features):
        """Scores (n, n_classes) of features (n, n_features)."""
        return (features - self.centre) @ self.directions - self.offsets
