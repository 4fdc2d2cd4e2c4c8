"""Checks of estimator, validation and rows before anything is trained."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sam_attribution._as_arrays import from_tensor
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
    X, y = from_tensor(X, "X"), targets.given(y)
    estimator = estimator_or_default(judge.estimator)
    checked, y = targets.with_rows(judge, X, y, input_rules(estimator, X))
    y = targets.learn(y, judge.validation)
    check_validation_rows(estimator, judge.validation, checked)
    return X if hasattr(X, "iloc") else checked, y


def checked_rows(judge, X):
    """Rows that a fitted `judge` is asked about."""
    X = from_tensor(X, "X")
    rules = input_rules(estimator_or_default(judge.estimator), X)
    checked = validate_data(judge, X, reset=False, **rules)
    return X if hasattr(X, "iloc") else checked


def check_no_bare_rows(validation):
    """Raise a ValueError for rows that are not in a ``ValidationData``, before they are printed."""
    if isinstance(validation, list | tuple | dict) or hasattr(validation, "shape"):
        raise ValueError(
            "validation must be a fraction, ValidationData(X, y) or a CV splitter, got "
            f"{type(validation).__name__}. Wrap rows and labels of your own: ValidationData(X, y)."
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
            "a frozen estimator needs validation=ValidationData(X, y) with rows of its own: "
            f"validation={validation!r} would hold out rows that it was trained on."
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
    rules = input_rules(estimator, validation.X)
    rows = check_array(validation.X, input_name="X of validation", **rules)
    if rows.shape[1:2] != np.shape(X)[1:2]:
        raise ValueError(
            f"X of validation has rows of shape {rows.shape[1:]}, those given to fit have "
            f"{np.shape(X)[1:]}: other features."
        )


def input_rules(estimator, X):
    """Keyword arguments of ``validate_data`` for rows that go into `estimator`."""
    rules = {"accept_sparse": "csr", "allow_nd": True, "dtype": None}
    if has_steps(estimator):  # which may take what the net could not
        rules |= {"ensure_all_finite": False, "ensure_2d": not _is_flat(X)}
    return rules


def _is_flat(X):
    """True if a row of `X` is one thing, such as a text, and not a row of numbers."""
    first = X[:1] if isinstance(X, list | tuple) else []
    return getattr(X, "ndim", 2) == 1 or any(isinstance(row, str) for row in first)
