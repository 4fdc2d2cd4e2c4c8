"""Displays of scores and of their quality, in the way of scikit-learn. They need matplotlib.

``from_predictions`` takes arrays, ``from_estimator`` a fitted estimator.
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
