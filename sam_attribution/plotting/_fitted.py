"""What a fitted detector has learnt, by the names of its attributes."""

from sklearn.exceptions import NotFittedError


def learnt(estimator, names, *, argument="detector"):
    """Values of some attributes of a fitted estimator, in the order of their `names`."""
    missing = [name for name in names if isinstance(estimator, type) or not _has(estimator, name)]
    if missing:
        raise NotFittedError(
            f"{argument} must be fitted and then have {', '.join(names)}, got "
            f"{_described(estimator)} without {', '.join(missing)}. Call its fit first; what is "
            "not a detector goes through from_predictions."
        )
    return [getattr(estimator, name) for name in names]


def _has(estimator, name):
    return getattr(estimator, name, None) is not None


def _described(estimator):
    if isinstance(estimator, type):
        return f"the class {estimator.__name__}"
    return type(estimator).__name__
