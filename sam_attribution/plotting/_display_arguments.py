"""Arguments that several displays share: scores by method, and fitted estimators."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

_OF_CLASSES = {"classes_", "label_log_proba_"}  # a detector of wrong targets has all but these


def columns(scores, truth=None):
    """Dict of the columns of a DataFrame, one for each method; other scores are returned unchanged.

    A column "truth" that equals `truth` belongs to no method and is left out.
    """
    if not isinstance(scores, pd.DataFrame):
        return scores
    found = dict(scores)
    if truth is not None and "truth" in found and _same(found["truth"], truth):
        del found["truth"]
    return found


def _same(column, truth):
    truth = np.asarray(truth, float)
    return truth.shape == column.shape and np.array_equal(column, truth, equal_nan=True)


def by_name(values, name, *, argument, default):
    """Dict of the values of each method, from such a dict or from one method and its name."""
    if not isinstance(values, Mapping):
        return {default if name is None else name: values}
    if name is not None:
        raise ValueError(
            f"name is for a single method, got {name!r} and a dict of {argument}. Leave it out: "
            "the keys are the names."
        )
    if not values:
        raise ValueError(f"{argument} must hold one method or more, got an empty dict.")
    return dict(values)


def fitted_attributes(estimator, names, *, argument="detector"):
    """Values of the attributes `names` of a fitted estimator, in that order."""
    is_class = isinstance(estimator, type)
    missing = [name for name in names if is_class or getattr(estimator, name, None) is None]
    if not missing:
        return [getattr(estimator, name) for name in names]
    needed, lacking = ", ".join(names), ", ".join(missing)
    if set(missing) <= _OF_CLASSES:
        raise ValueError(
            f"{argument} must have {needed}, got a fitted {type(estimator).__name__} without "
            f"{lacking}: a regression has no classes. Look at its issues_, or pass arrays to "
            "from_predictions."
        )
    got = f"the class {estimator.__name__}" if is_class else type(estimator).__name__
    raise NotFittedError(
        f"{argument} must be fitted and then have {needed}, got {got} without {lacking}. Call its "
        "fit first, or pass arrays to from_predictions."
    )
