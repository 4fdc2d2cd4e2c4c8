"""From estimator and rows to trained splits: what attribution and detection share."""

from sam_attribution.fitting._any_targets import AnyTargets
from sam_attribution.fitting._before_training import check_some_target
from sam_attribution.fitting._checks import (
    check_estimator_kind,
    check_settings,
    checked_rows,
    estimator_or_default,
)
from sam_attribution.fitting._estimator import (
    frozen_where_adopted,
    is_frozen,
    net_of,
    rows_at_net,
    with_net,
)
from sam_attribution.fitting._fit_data import FitData, fit_data
from sam_attribution.fitting._measure import Measure
from sam_attribution.fitting._over_splits import mean_over_splits, over_splits
from sam_attribution.fitting._splits import Split
from sam_attribution.fitting._targets import ClassTargets, has_classes, targets_of
from sam_attribution.fitting._trained_split import (
    TrainedSplit,
    fitted_on_all,
    single_queries,
    train_split,
)
