"""Methods side by side: how right, how good at finding wrong labels, how fast."""

from sam_attribution.comparison._compare import compare
from sam_attribution.comparison._further_training import further_training
from sam_attribution.comparison._leave_one_out import LeftOutEffects, leave_one_out

__all__ = ["LeftOutEffects", "compare", "further_training", "leave_one_out"]
