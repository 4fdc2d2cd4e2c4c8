"""Figures of merit of scores: agreement with retraining, detection of wrong labels."""

from sam_attribution.metrics._agreement import agreement, over_queries
from sam_attribution.metrics._datamodelling import linear_datamodelling_score
from sam_attribution.metrics._detection import detection, detection_curve
from sam_attribution.metrics._removal_curve import removal_curve
from sam_attribution.metrics._similarity import similarities, similarity_curve

__all__ = [
    "agreement",
    "detection",
    "detection_curve",
    "linear_datamodelling_score",
    "over_queries",
    "removal_curve",
    "similarities",
    "similarity_curve",
]
