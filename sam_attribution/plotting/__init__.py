"""Pictures of how good scores are and what they say. They need matplotlib.

Displays in the way of scikit-learn: ``from_predictions`` takes arrays, ``from_estimator`` what has
been fitted.
"""

from sam_attribution.plotting._agreement import AgreementDisplay
from sam_attribution.plotting._detection_curve import DetectionCurveDisplay
from sam_attribution.plotting._further_training import FurtherTrainingDisplay
from sam_attribution.plotting._label_confusion import LabelConfusionDisplay
from sam_attribution.plotting._removal_curve import RemovalCurveDisplay
from sam_attribution.plotting._score_distribution import ScoreDistributionDisplay
from sam_attribution.plotting._trace import TraceDisplay
from sam_attribution.plotting._what_if import WhatIfDisplay

__all__ = [
    "AgreementDisplay",
    "DetectionCurveDisplay",
    "FurtherTrainingDisplay",
    "LabelConfusionDisplay",
    "RemovalCurveDisplay",
    "ScoreDistributionDisplay",
    "TraceDisplay",
    "WhatIfDisplay",
]
