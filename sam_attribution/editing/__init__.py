"""Whether the predicted change of a trained state can be trusted."""

from sam_attribution.editing._bend import bend
from sam_attribution.editing._verification import random_groups, verification

__all__ = ["bend", "random_groups", "verification"]
