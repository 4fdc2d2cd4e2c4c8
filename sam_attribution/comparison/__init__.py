"""Methods and gold standards as functions of an estimator and its rows."""

from sam_attribution.comparison._leave_one_out import LeftOutEffects, leave_one_out

__all__ = ["LeftOutEffects", "leave_one_out"]
