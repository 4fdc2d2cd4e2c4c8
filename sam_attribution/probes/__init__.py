"""Probes: pairs (point, direction), scored for all rows and labels by forward-mode passes."""

from sam_attribution.probes._batch_tangents import step_probe
from sam_attribution.probes._costs import pass_costs
from sam_attribution.probes._function_probe import as_probes
from sam_attribution.probes._probe import CosineProbe, Probe, RelativeProbe, SquaredNormProbe
from sam_attribution.probes._replayable import Replayable
from sam_attribution.probes._row_norms import check_row_norms
from sam_attribution.probes._row_products import (
    RowProducts,
    gradients_for,
    reads_gradients,
    row_products,
)
from sam_attribution.probes._scores import row_scores, training_scores
from sam_attribution.probes._step_probe import StepProbe
from sam_attribution.probes._tangents import within

__all__ = [
    "Probe",
]
