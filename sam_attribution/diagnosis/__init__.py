"""Checks of whether scores can be trusted: the numbers, and their meaning in words."""

from sam_attribution.diagnosis._check_table import CHECKS, check_table
from sam_attribution.diagnosis._edge_of_stability import extreme_curvature
from sam_attribution.diagnosis._left_out_rows import left_out_rows, own_influence
from sam_attribution.diagnosis._metasmoothness import (
    metasmoothness,
    recorded_scores,
    unrolled_scores,
)
from sam_attribution.diagnosis._one_prediction import warn_of_one_prediction
from sam_attribution.diagnosis._prediction import prediction_errors
from sam_attribution.diagnosis._remedies import (
    AS_TRAINED,
    OTHER_RATE,
    REFINE,
    REFINE_AND_SCALE,
    SCALE_FEATURES,
    SCALE_TARGETS,
    TRAIN_LONGER,
    done_already,
    what_helps,
)
