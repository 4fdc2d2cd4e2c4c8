"""The one place that imports scikit-learn's private validators.

Constraint tables (``_parameter_constraints``) are built from the names below, and
`check_parameters` reads them, so that a new scikit-learn release can break this file only. What
scikit-learn offers in public (``validate_data``, ``check_random_state``, ...) is imported where
it is used.
"""

from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils._param_validation import HasMethods as _HasMethods
from sklearn.utils._param_validation import (
    Hidden,
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "HasMethods",
    "Hidden",
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "check_arguments",
    "check_labels",
    "check_parameters",
    "check_sample_weight",
    "check_targets",
    "classes_of",
    "codes_among",
    "forget_fit",
    "from_tensor",
    "num_samples",
    "refuse_sparse_tensor",
    "refusing_overflow",
    "take_rows",
]


class HasMethods(_HasMethods):
    """Constraint: an object with some methods. Its class, not called, has them as well."""

    def is_satisfied_by(self, val):
        return not isinstance(val, type) and super().is_satisfied_by(val)


def check_parameters(estimator):
    """Raise, in scikit-learn's words, for a constructor argument outside its constraint table."""
    parameters, caller = estimator.get_params(deep=False), type(estimator).__name__
    for name, value in parameters.items():
        if isinstance(value, Integral) and not -_TOO_LARGE < value < _TOO_LARGE:
            raise ValueError(
                f"The {name!r} parameter of {caller} must fit into 64 bits, got an integer of "
                f"{int(value).bit_length()}."
            )
    validate_parameter_constraints(estimator._parameter_constraints, parameters, caller_name=caller)


def check_arguments(rules, caller, **arguments):
    """The same for the arguments of a method."""
    validate_parameter_constraints(rules, arguments, caller_name=caller)


_TOO_LARGE = 2**63


# not parameters, but of the user as well: scikit-learn's clone takes them over
_CLONED = {"_metadata_request", "_sklearn_output_config", "_skl_callbacks"}


def forget_fit(estimator, keep=()):
    """Delete every attribute, public or private, that an earlier ``fit`` set.

    Without them a fit that fails leaves no answers of the fit before it. Constructor parameters
    stay, as do the settings of ``set_fit_request`` and ``set_output``, and the names in `keep`.
    """
    settings = {*estimator.get_params(deep=False), *_CLONED, *keep}
    for name in vars(estimator).keys() - settings:
        del vars(estimator)[name]


@contextmanager
def refusing_overflow(name):
    """Turn the OverflowError that numpy raises for a huge integer into a ValueError."""
    try:
        yield
    except OverflowError as error:
        raise ValueError(f"{name} holds an integer that is too large: {error}.") from error


def check_sample_weight(sample_weight, X, **rules):
    """Weights as an array of shape (n_samples,)."""
    with refusing_overflow("sample_weight"):
        if isinstance(sample_weight, Real):
            sample_weight = float(sample_weight)
        return _check_sample_weight(from_tensor(sample_weight, "sample_weight"), X, **rules)


def from_tensor(data, name):
    """What is in a torch tensor, on whatever device, as an array; other data as they are."""
    refuse_sparse_tensor(data, name)
    if not hasattr(data, "detach"):
        return data
    return data.detach().cpu().numpy()


def refuse_sparse_tensor(data, name):
    """Raise a TypeError for what can neither be indexed nor become an array."""
    if getattr(data, "is_sparse", False):
        raise TypeError(f"{name} must be a dense tensor, got a sparse one. Call to_dense().")


def check_labels(y, name="y"):
    """Labels as an array of shape (n_samples,); raise unless they are discrete and sort."""
    y = _column(y, name, warn=True)
    assert_all_finite(y, input_name=name)
    classes_of(y, name)
    check_classification_targets(y)
    return y


def check_targets(y, name="y", *, dtype="float64", warn=False):
    """Real targets as an array of shape (n_samples,); raise unless each row has one number."""
    y = from_tensor(y, name)
    shape = _shape_of(y)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} must hold one number per row, got an array of shape {shape}: several "
            "outputs are not supported. Fit a regressor for each column."
        )
    y = _column(y, name, warn=warn)
    if y.dtype.kind not in "biufO":
        raise TypeError(f"{name} must hold real numbers, {_got(y)}.")
    try:
        with refusing_overflow(name), np.errstate(over="ignore"):
            y = y.astype(dtype)
    except (TypeError, ValueError) as error:
        if isinstance(error.__cause__, OverflowError):
            raise
        raise TypeError(f"{name} must hold real numbers, {_got(y)}.") from error
    assert_all_finite(y, input_name=name)
    return y


def classes_of(y, name="y"):
    """Distinct labels, sorted."""
    y = from_tensor(y, name)
    try:
        return np.unique(y)
    except TypeError as error:
        raise TypeError(f"{name} must hold labels of one kind that sorts, {_got(y)}.") from error


def codes_among(classes, y, name="y"):
    """Positions of labels in the sorted `classes`; raise for one that is not there."""
    y = _column(y, name)
    if len(classes) == 0:
        raise ValueError("classes must hold the labels, got none. Leave it out to take those of y.")
    try:
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        unknown = sorted(set(y[classes[codes] != y].tolist()))
    except TypeError as error:
        raise TypeError(
            f"{name} must hold labels that were in fit, such as {classes.tolist()[0]!r}, {_got(y)}."
        ) from error
    if unknown:
        raise ValueError(f"{name} holds labels that were not in fit: {unknown}.")
    return codes.astype(np.int64)


def _column(y, name, *, warn=False):
    """One-dimensional array; scikit-learn before 1.8 would speak of "y" whatever the name."""
    y = from_tensor(y, name)
    shape = _shape_of(y)
    if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise ValueError(f"{name} should be a 1d array, got an array of shape {shape} instead.")
    return column_or_1d(y, warn=warn)


def _shape_of(y):
    return tuple(y.shape if hasattr(y, "shape") else np.asarray(y).shape)


def _got(y):
    kinds = sorted({type(label).__name__ for label in np.asarray(y).ravel().tolist()})
    return f"got {', '.join(kinds)}"
