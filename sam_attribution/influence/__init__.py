"""The scikit-learn face of attribution."""

from sam_attribution.influence._checks import (
    check_no_bare_rows,
    check_request,
    checked_training_rows,
    input_rules,
    unfitted,
)
from sam_attribution.influence._estimator import clones, is_frozen, net_of, rows_at_net, train
from sam_attribution.influence._influence import SAMInfluence
from sam_attribution.influence._measure import Stopwatch
from sam_attribution.influence._methods import METHODS
from sam_attribution.influence._projected import Projected
from sam_attribution.influence._single_queries import single_queries
from sam_attribution.influence._splits import make_splits
from sam_attribution.influence._targets import Labels, targets_of

__all__ = [
    "METHODS",
    "Labels",
    "Projected",
    "SAMInfluence",
    "Stopwatch",
    "check_no_bare_rows",
    "check_request",
    "checked_training_rows",
    "clones",
    "input_rules",
    "is_frozen",
    "make_splits",
    "net_of",
    "rows_at_net",
    "single_queries",
    "targets_of",
    "train",
    "unfitted",
]
