"""Checks of arguments, and the only imports of scikit-learn's private validators.

Constraint tables (``_parameter_constraints``) are built from the names below, and
`check_parameters` reads them, so that a new scikit-learn release can break this file only. The
public functions of scikit-learn (``validate_data``, ``check_random_state``, ...) are imported
where they are used.
"""

from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing, assert_all_finite, check_array, column_or_1d
from sklearn.utils._param_validation import HasMethods as _HasMethods
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

from sam_attribution._as_arrays import from_tensor, in_native_order, values_of
from sam_attribution._row_source import RowSource

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_arguments",
    "check_column",
    "check_given",
    "check_labels",
    "check_length",
    "check_mask",
    "check_numbers",
    "check_parameters",
    "check_sample_weight",
    "check_targets",
    "classes_of",
    "codes_among",
    "forget_fit",
    "label_values",
    "num_samples",
    "refusing_overflow",
    "take_rows",
    "target_column",
]


_TOO_LARGE = 2**63


class HasMethods(_HasMethods):
    """Constraint for an instance with some methods; a class that has them is refused."""

    def is_satisfied_by(self, val):
        return not isinstance(val, type) and super().is_satisfied_by(val)


def take_rows(X, positions):
    """Rows of `X` at some positions, or of a mask; those of a source are not read."""
    if isinstance(X, RowSource):
        return X.part(positions)
    return _safe_indexing(in_native_order(X), positions)


def check_parameters(estimator):
    """Raise scikit-learn's error for a constructor argument outside its constraint table."""
    parameters, caller = estimator.get_params(deep=False), type(estimator).__name__
    for name, value in parameters.items():
        if isinstance(value, Integral) and not -_TOO_LARGE < value < _TOO_LARGE:
            raise ValueError(
                f"The {name!r} parameter of {caller} must fit into 64 bits, got an integer of "
                f"{int(value).bit_length()} bits."
            )
    validate_parameter_constraints(estimator._parameter_constraints, parameters, caller_name=caller)


def check_arguments(rules, caller, **arguments):
    """Raise scikit-learn's error for an argument of a method outside the table `rules`."""
    validate_parameter_constraints(rules, arguments, caller_name=caller)


def forget_fit(estimator):
    """Delete the fitted attributes, public names that end with an underscore.

    Without them a fit that fails leaves no answers of the fit before it. Private attributes stay:
    scikit-learn keeps metadata requests, output settings and callbacks there.
    """
    for name in [name for name in vars(estimator) if name.endswith("_") and name[0] != "_"]:
        delattr(estimator, name)


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


def check_column(values, name, n_samples=None, *, dtype=None, finite="allow-nan"):
    """Array of shape (n_samples,), made from a sequence or from a table with one column.

    The dtype "float64" asks for numbers, for which `finite` is the rule of :func:`check_numbers`.
    """
    values = values_of(values, name) if dtype is None else from_tensor(values, name)
    _check_is_column(values, name)
    values = np.asarray(values) if dtype is None else check_numbers(values, name, finite=finite)
    if n_samples is not None:
        check_length(values, name, n_samples)
    return values.reshape(-1)


def check_numbers(values, name, *, n_axes=None, finite="allow-nan"):
    """Float array. Where `n_axes` is given, the number of axes must be one of these.

    The rule `finite` is scikit-learn's: "allow-nan" refuses infinity, True refuses NaN too, and
    False refuses neither.
    """
    values = from_tensor(values, name)
    _check_axes(_shape_of(values), name, n_axes)
    with refusing_overflow(name):
        return check_array(
            values,
            ensure_2d=False,
            allow_nd=True,
            dtype="float64",
            ensure_all_finite=finite,
            input_name=name,
        )


def check_mask(values, name, n_samples=None):
    """Boolean array, of shape (n_samples,) if that is given; row numbers raise a ValueError."""
    values = np.asarray(from_tensor(values, name))
    if n_samples is not None:
        _check_is_column(values, name)
        check_length(values, name, n_samples)
        values = values.reshape(-1)
    # np.isin cannot compare pandas.NA
    known = np.where(pd.isna(values), None, values) if values.dtype == object else values
    is_boolean = np.isin(known, (0, 1)) & (values.dtype.kind in "biufO")
    if not is_boolean.all():
        raise ValueError(
            f"{name} must hold True and False only, got {values[~is_boolean][:5].tolist()}. Turn "
            "row numbers into a mask with np.isin(np.arange(n_samples), rows)."
        )
    return values.astype(bool)


def check_length(values, name, n_samples):
    """Raise a ValueError unless there is one value for each row."""
    if num_samples(values) != n_samples:
        raise ValueError(
            f"{name} must hold one value for each of the {n_samples} rows, got "
            f"{num_samples(values)}."
        )


def label_values(y, name="y"):
    """`y` as an array, or None; a ValueError if its rows have several labels."""
    y = values_of(y, name)
    shape = () if y is None else _shape_of(y)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} must hold one label per row, got an array of shape {shape}. Turn one-hot "
            f"rows into labels by {name}.argmax(axis=1); for several labels per row use SAMNet "
            "with BCEWithLogitsLoss. Of the items of a Dataset the last part is y, which metadata "
            "cannot be."
        )
    return y


def check_labels(y, name="y"):
    """Label array of shape (n_samples,); the labels must be discrete and sortable."""
    y = target_column(label_values(y, name), name, warn=True)
    assert_all_finite(y, input_name=name)
    classes_of(y, name)
    check_classification_targets(y)
    return y


def check_targets(y, name="y", *, dtype="float64", warn=False):
    """Array of real targets, shape (n_samples,); each row must have one number."""
    y = values_of(y, name)
    shape = _shape_of(y)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} must hold one number per row, got an array of shape {shape}: several "
            "outputs are not supported. Use SAMNet, or fit a regressor for each column."
        )
    y = target_column(y, name, warn=warn)
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
    """Sorted array of the distinct labels."""
    y = values_of(y, name)
    try:
        return np.unique(y)
    except TypeError as error:
        raise TypeError(
            f"{name} must hold labels of one kind that can be sorted, {_got(y)}."
        ) from error


def codes_among(classes, y, name="y"):
    """Positions of the labels in the sorted `classes`; unknown labels raise a ValueError."""
    y = target_column(y, name)
    assert_all_finite(y, input_name=name)
    if len(classes) == 0:
        raise ValueError("classes must hold the labels, got none. Leave it out to use those of y.")
    y = _as_integers_of(y, classes.dtype)
    try:
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        unknown = sorted(set(y[classes[codes] != y].tolist()))
    except TypeError as error:
        raise TypeError(
            f"{name} must hold labels that were in fit, such as {classes.tolist()[0]!r}, {_got(y)}."
        ) from error
    if unknown:
        some = f"{unknown[:5]}" + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise ValueError(f"{name} holds labels that were not in fit: {some}.")
    return codes.astype(np.int64)


def _as_integers_of(y, dtype):
    """`y` in the integer type of the classes: numpy compares signed and unsigned ones as floats."""
    if y.dtype.kind not in "iu" or dtype.kind not in "iu":
        return y
    same = y.astype(dtype)
    return same if (same == y).all() else y


def target_column(y, name, *, warn=False):
    """Array of shape (n_samples,), converted from `y` as scikit-learn's estimators convert it."""
    y = values_of(y, name)
    _check_is_column(y, name)
    return column_or_1d(y, warn=warn)


def check_given(y, name="y"):
    """Raise a ValueError if there are no labels or targets."""
    if y is None:
        raise ValueError(
            f"{name} must hold a label or target for each row, got None. Only a Dataset has its "
            "own: anything else requires y to be passed, but the target y is None."
        )


def _check_is_column(values, name):
    check_given(values, name)
    shape = _shape_of(values)
    _check_axes(shape[:1] if shape[1:] == (1,) else shape, name, (1,))


def _check_axes(shape, name, n_axes):
    """Raise scikit-learn's error unless the number of axes is one of `n_axes`."""
    if n_axes is not None and len(shape) not in n_axes:
        kinds = " or ".join(f"{n}d" for n in n_axes)
        raise ValueError(
            f"{name} should be a {kinds} array, got an array of shape {shape} instead."
        )


def _got(y):
    kinds = sorted({type(label).__name__ for label in np.asarray(y).ravel().tolist()})
    return f"got {', '.join(kinds)}"


def _shape_of(values):
    # np.shape would ask the object, which may know __array__ only
    return tuple(values.shape if hasattr(values, "shape") else np.asarray(values).shape)
