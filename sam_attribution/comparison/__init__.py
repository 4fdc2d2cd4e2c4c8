"""Methods side by side: how right, how good at finding wrong labels, how fast."""

from sam_attribution.comparison._compare import compare
from sam_attribution.comparison._further_training import further_training

__all__ = ["compare", "further_training"]
