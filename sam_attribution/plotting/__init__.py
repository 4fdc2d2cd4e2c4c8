"""Pictures of how good scores are. Displays in the way of scikit-learn; they need matplotlib."""

from sam_attribution.plotting._agreement import AgreementDisplay
from sam_attribution.plotting._further_training import FurtherTrainingDisplay
from sam_attribution.plotting._removal import RemovalCurveDisplay

__all__ = ["AgreementDisplay", "FurtherTrainingDisplay", "RemovalCurveDisplay"]
