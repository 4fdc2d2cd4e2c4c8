"""Training again with some rows left out: the reference for every score."""

from sam_attribution.retraining._fixed_point import FixedPoint
from sam_attribution.retraining._further_training import FurtherTraining
from sam_attribution.retraining._further_values import FurtherTrainingValues
from sam_attribution.retraining._leave_one_out import LeaveOneOut
from sam_attribution.retraining._newton import (
    NoFixedPoint,
    OutOfSteps,
    fixed_point,
    largest_radius,
)
from sam_attribution.retraining._real_loop import recorded_loop, recorded_training
from sam_attribution.retraining._train_many import final_models, train_many

__all__ = [
    "FixedPoint",
    "FurtherTraining",
    "FurtherTrainingValues",
    "LeaveOneOut",
]
