"""Checks of estimator, validation and rows before anything is trained."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, validate_data

from sam_attribution._as_arrays import (
    from_tensor,
    refuse_ragged,
    refuse_repeated_columns,
    refuse_texts,
)
from sam_attribution._row_source import RowSource
from sam_attribution._rows import (
    ArrayRows,
    DatasetRows,
    as_source,
    is_dataset,
    is_lazy,
    with_own_targets,
)
from sam_attribution._validation import check_parameters
from sam_attribution.fitting._estimator import frozen_where_adopted, has_steps, is_frozen, net_of
from sam_attribution.training import SAMClassifier, check_device
from sam_attribution.validation_data import ValidationData


def estimator_or_default(estimator):
    """The estimator given, frozen if ``from_module`` made it, or ``SAMClassifier()`` for None."""
    return SAMClassifier() if estimator is None else frozen_where_adopted(estimator)


def check_settings(judge, device=None):
    """Raise a ValueError for parameters of a SAMInfluence or MislabelDetector that cannot work."""
    check_no_bare_rows(judge.validation)
    check_parameters(judge)
    estimator = estimator_or_default(judge.estimator)
    check_estimator_kind(estimator)
    check_frozen(estimator, judge.validation, device)
    check_device(device)


def checked_training_rows(judge, X, y, targets):
    """Rows and targets given to ``fit`` of `judge`, a SAMInfluence or a MislabelDetector."""
    estimator = estimator_or_default(judge.estimator)
    if reads_rows(estimator, X):
        return _checked_source(judge, estimator, X, y, targets)
    X, y = _given_rows(X), targets.given(y)
    checked, y = targets.with_rows(judge, X, y, input_rules(estimator, X))
    y = targets.learn(y, judge.validation)
    check_validation_rows(estimator, judge.validation, checked)
    _check_names(estimator, judge.validation, X)
    return X if hasattr(X, "iloc") else checked, y


def checked_rows(judge, X):
    """Rows that a fitted `judge` is asked about."""
    if reads_rows(estimator_or_default(judge.estimator), X):
        X = as_source(X)
        _check_columns(judge, X, reset=False)
        return X
    X = _given_rows(X)
    rules = input_rules(estimator_or_default(judge.estimator), X)
    checked = validate_data(judge, X, reset=False, **rules)
    return X if hasattr(X, "iloc") else checked


def _given_rows(X):
    refuse_ragged(X, "X")
    refuse_repeated_columns(X, "X")
    return from_tensor(X, "X")


def reads_rows(estimator, X):
    """True if an estimator reads the rows of `X` batch by batch.

    A ValueError for rows that the steps of a Pipeline cannot take; they load a memory map.
    """
    if not is_lazy(X) or (has_steps(estimator) and isinstance(X, np.ndarray)):
        return False
    if has_steps(estimator):
        raise ValueError(
            f"X as a {type(X).__name__} cannot go through the steps of a Pipeline, which take one "
            "table or array. Transform the rows first, and pass the net without the Pipeline."
        )
    return True


def _checked_source(judge, estimator, X, y, targets):
    """Source of the rows, and targets: those of the Dataset itself if `y` is None."""
    X, y = with_own_targets(X, y, verbose=judge.verbose)
    if y is None:
        raise ValueError(
            "y must hold a target for each row, got None. Only a Dataset has targets of its own."
        )
    y = targets.learn(targets.given(y), judge.validation)
    check_consistent_length(X, y)
    _check_columns(judge, X, reset=True)
    check_validation_rows(estimator, judge.validation, X)
    return X, y


def _check_columns(judge, X, *, reset):
    """Learn the number of columns of a memory map, or check it; other rows have none."""
    if isinstance(X, ArrayRows) and isinstance(X.arrays, np.ndarray):
        validate_data(judge, X.arrays, reset=reset, skip_check_array=True)


def check_no_bare_rows(validation):
    """Raise a ValueError for rows that are not in a ``ValidationData``, before they are printed."""
    bare = isinstance(validation, list | tuple | dict) or hasattr(validation, "shape")
    if bare or is_lazy(validation):
        wrapped = "ValidationData(dataset)" if is_dataset(validation) else "ValidationData(X, y)"
        raise ValueError(
            "validation must be a fraction, a number of folds, ValidationData(X, y) or a CV "
            f"splitter, got {type(validation).__name__}. Wrap rows and labels of your own: "
            f"{wrapped}."
        )


def check_estimator_kind(estimator):
    """Raise a ValueError unless the training of `estimator` can be attributed."""
    if not hasattr(net_of(estimator), "replay"):
        raise ValueError(
            "estimator must be a SAMClassifier, SAMRegressor or SAMNet, a Pipeline that ends in "
            f"one, or a FrozenEstimator of either, got {estimator!r}."
        )
    check_device(net_of(estimator).device)
    steps = estimator.steps if isinstance(estimator, Pipeline) else []
    if resampling := [name for name, step in steps if hasattr(step, "fit_resample")]:
        raise ValueError(
            f"estimator has the step {resampling[0]!r}, which resamples: scores would not be "
            "aligned with the rows given to fit. Resample before SAMInfluence."
        )


def check_frozen(estimator, validation, device):
    """Raise a ValueError if something is asked that only training could give."""
    if not is_frozen(estimator):
        return
    if not isinstance(validation, ValidationData):
        raise ValueError(
            "a frozen estimator needs validation=ValidationData(X, y) with rows of its own, and so "
            f"does a net of from_module: validation={validation!r} would hold out rows that it "
            "was trained on."
        )
    trained_on = net_of(estimator).device
    if device not in (None, trained_on):
        raise ValueError(
            f"device={device!r} cannot move a frozen estimator, which is on {trained_on!r}. "
            "Use device=None."
        )


def check_validation_rows(estimator, validation, X):
    """Raise a ValueError if rows of ``ValidationData`` are not such as those of `X`."""
    if not isinstance(validation, ValidationData):
        return
    if isinstance(X, RowSource) or isinstance(validation.X, RowSource):
        _check_same_parts(X, validation.X)
        return
    rules = input_rules(estimator, validation.X, "X of validation")
    rows = check_array(validation.X, input_name="X of validation", **rules)
    if rows.shape[1:2] != np.shape(X)[1:2]:
        raise ValueError(
            f"X of validation has rows of shape {rows.shape[1:]}, those given to fit have "
            f"{np.shape(X)[1:]}: other features."
        )


def _check_names(estimator, validation, X):
    """Raise a ValueError if the columns of ``ValidationData`` are not those of `X`, in their order.

    The steps of a Pipeline may take their columns by name. Names that are no texts say nothing,
    unless they are the same in another order.
    """
    if has_steps(estimator) or not isinstance(validation, ValidationData):
        return
    one, other = (getattr(rows, "columns", None) for rows in (X, validation.X))
    if one is None or other is None or one.equals(other):
        return
    are_texts = all(isinstance(name, str) for name in (*one, *other))
    if are_texts or set(one) == set(other):
        at = next(i for i, names in enumerate(zip(one, other, strict=True)) if len({*names}) > 1)
        raise ValueError(
            f"validation must have the columns of X in the same order, got {other[at]!r} where X "
            f"has {one[at]!r}. Rename them, or pass ValidationData(X_validation[X.columns], y)."
        )


def _check_same_parts(X, X_validation):
    """Raise a ValueError for rows of a dict, tuple or memory map that have other parts.

    The items of a Dataset are not looked at: they may be what its collate_fn takes.
    """
    if isinstance(X, DatasetRows) or isinstance(X_validation, DatasetRows):
        return
    one, other = map(_parts, (X, X_validation))
    if one != other:
        raise ValueError(
            f"X of validation has rows of shape {other}, those given to fit have {one}: other "
            "features."
        )


def _parts(X):
    """Shape of a row; of a dict or tuple the numbers of axes, since token rows may be longer."""
    shape = X.row_shape if isinstance(X, RowSource) else tuple(X.shape[1:])
    if isinstance(shape, dict):
        return {name: len(part) for name, part in shape.items()}
    if isinstance(X, RowSource) and isinstance(X.arrays, tuple):
        return [len(part) for part in shape]
    return shape


def input_rules(estimator, X, name="X"):
    """Keyword arguments of ``validate_data`` for rows that go into `estimator`.

    A ValueError for texts, unless the steps of a Pipeline may take them.
    """
    if not has_steps(estimator):
        refuse_texts(X, name)
    rules = {"accept_sparse": "csr", "allow_nd": True, "dtype": None}
    if has_steps(estimator):  # which may take what the net could not
        rules |= {"ensure_all_finite": False, "ensure_2d": not _is_flat(X)}
    return rules


def _is_flat(X):
    """True if a row of `X` is one thing, such as a text, and not a row of numbers."""
    first = X[:1] if isinstance(X, list | tuple) else []
    return getattr(X, "ndim", 2) == 1 or any(isinstance(row, str) for row in first)
