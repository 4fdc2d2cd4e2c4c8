"""Probes: pairs (point, direction), scored for all rows and labels by forward-mode passes."""

from sam_attribution.probes._probe import Probe
from sam_attribution.probes._scores import row_scores, training_scores

__all__ = ["Probe", "row_scores", "training_scores"]
