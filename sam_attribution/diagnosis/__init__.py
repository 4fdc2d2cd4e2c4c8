"""What says whether scores can be trusted: numbers, and words for them."""

from sam_attribution.diagnosis._curvature import extreme_curvature
from sam_attribution.diagnosis._metasmoothness import metasmoothness, recorded_scores, run_scores
from sam_attribution.diagnosis._prediction import PredictionErrors, prediction_errors
from sam_attribution.diagnosis._verdicts import CHECKS, Check, verdicts

__all__ = [
    "CHECKS",
    "Check",
    "PredictionErrors",
    "extreme_curvature",
    "metasmoothness",
    "prediction_errors",
    "recorded_scores",
    "run_scores",
    "verdicts",
]
