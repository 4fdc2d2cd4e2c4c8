"""What says whether scores can be trusted: numbers, and words for them."""

from sam_attribution.diagnosis._curvature import extreme_curvature
from sam_attribution.diagnosis._linearity import linearity
from sam_attribution.diagnosis._metasmoothness import metasmoothness, recorded_scores
from sam_attribution.diagnosis._verdicts import CHECKS, Check, verdicts

__all__ = [
    "CHECKS",
    "Check",
    "extreme_curvature",
    "linearity",
    "metasmoothness",
    "recorded_scores",
    "verdicts",
]
