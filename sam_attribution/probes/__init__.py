"""Probes: pairs (point, direction), scored for all rows and labels by forward-mode passes."""

from sam_attribution.probes._probe import CosineProbe, Probe, RelativeProbe, SquaredNormProbe
from sam_attribution.probes._scores import row_scores, training_scores
from sam_attribution.probes._step_probe import StepProbe

__all__ = [
    "CosineProbe",
    "Probe",
    "RelativeProbe",
    "SquaredNormProbe",
    "StepProbe",
    "row_scores",
    "training_scores",
]
