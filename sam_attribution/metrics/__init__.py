"""How good scores are: agreement with retraining, detection of wrong labels. Arrays in."""

from sam_attribution.metrics._agreement import agreement
from sam_attribution.metrics._datamodelling import linear_datamodelling_score
from sam_attribution.metrics._detection import detection, detection_curve

__all__ = ["agreement", "detection", "detection_curve", "linear_datamodelling_score"]
