"""Probes: pairs (point, direction), scored for all rows and labels by forward-mode passes."""

from sam_attribution.probes._probe import CosineProbe, Probe, SquaredNormProbe
from sam_attribution.probes._scores import row_scores, training_scores

__all__ = ["CosineProbe", "Probe", "SquaredNormProbe", "row_scores", "training_scores"]
