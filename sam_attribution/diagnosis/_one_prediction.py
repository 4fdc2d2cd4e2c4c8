"""Warning of a model that predicts the same for every validation row."""

import numpy as np

from sam_attribution._warnings import warn
from sam_attribution.diagnosis._remedies import (
    AS_TRAINED,
    OTHER_RATE_OR_RADIUS,
    SCALE_FEATURES,
    SCALE_TARGETS,
    TRAIN_LONGER,
    what_helps,
)

_LEARN = (SCALE_FEATURES, SCALE_TARGETS, OTHER_RATE_OR_RADIUS, TRAIN_LONGER, AS_TRAINED)


def warn_of_one_prediction(predicted, y, problem):
    """Warn if all validation rows get the same prediction, though their labels `y` differ."""
    if len(np.unique(y)) > 1 and len(np.unique(predicted)) == 1:
        (label,) = predicted[:1].tolist()
        warn(
            f"The trained model predicts {label!r} for every validation row, so scores say "
            f"little. {what_helps(_LEARN, problem)}",
        )
