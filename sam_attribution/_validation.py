"""The one place that imports scikit-learn's private validators.

Constraint tables (``_parameter_constraints``) are built from the names below, and
`check_parameters` reads them, so that a new scikit-learn release can break this file only. What
scikit-learn offers in public (``validate_data``, ``check_random_state``, ...) is imported where
it is used.
"""

from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils._param_validation import (
    HasMethods,
    Hidden,
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "HasMethods",
    "Hidden",
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "check_parameters",
    "check_sample_weight",
    "num_samples",
    "take_rows",
]


def check_parameters(estimator):
    """Raise, in scikit-learn's words, for a constructor argument outside its constraint table."""
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )
