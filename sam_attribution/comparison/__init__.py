"""Methods side by side: how right, how good at finding wrong labels, how fast."""

from sam_attribution.comparison._compare import compare

__all__ = ["compare"]
