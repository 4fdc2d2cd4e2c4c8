"""The rows that a filter keeps: by a fraction, or by what the scorer calls suspicious."""

import numpy as np

from sam_attribution._class_losses import most_lost
from sam_attribution._ranking import lowest
from sam_attribution._warnings import warn
from sam_attribution.detection import MislabelDetector
from sam_attribution.influence import SAMInfluence

AUTO = "auto"


def check_fraction(removal_fraction, scorer):
    """Raise a ValueError, before anything is trained, if only a fraction can say what to drop."""
    if removal_fraction == AUTO and isinstance(scorer, SAMInfluence):
        raise _needs_a_fraction(scorer)


def rows_to_keep(y, scores, suspicious, *, removal_fraction, scorer):
    """Mask of the rows that stay.

    Parameters
    ----------
    y, scores : ndarray of shape (n_samples,)
    suspicious : ndarray of bool, shape (n_samples,), or None
        What the scorer calls suspicious, if it does.
    removal_fraction : float or "auto"
    scorer : estimator

    Returns
    -------
    ndarray of bool, shape (n_samples,)
    """
    if removal_fraction == AUTO:
        return _without_suspicious(y, suspicious, scorer)
    kept = ~lowest(scores, removal_fraction)
    _check_classes_stay(y, kept, removal_fraction)
    _warn_of_losses(y, kept, removal_fraction)
    return kept


def _without_suspicious(y, suspicious, scorer):
    if suspicious is None:
        raise _needs_a_fraction(scorer)
    if suspicious.shape != y.shape or suspicious.dtype != bool:
        raise ValueError(
            f"scorer must leave suspicious_ as a mask of shape {y.shape}, got {suspicious.dtype} "
            f"of shape {suspicious.shape}. Set removal_fraction to go by its scores_."
        )
    lost = np.setdiff1d(y, y[~suspicious])
    kept = ~suspicious | np.isin(y, lost)
    if len(lost):
        warn(
            f"Every row of class {_named(lost)} is suspicious, so all of them stay, because a "
            "class cannot be learned without rows. Review them before you trust predictions of "
            "this class."
        )
    if not isinstance(scorer, MislabelDetector):  # which has said so itself
        _warn_of_losses(y, kept, AUTO)
    return kept


def _needs_a_fraction(scorer):
    return ValueError(
        f"removal_fraction='auto' needs a scorer with suspicious_, and {type(scorer).__name__} "
        "has scores_ only. Give a fraction, such as removal_fraction=0.1, and search it with 0 "
        "in the grid."
    )


def _check_classes_stay(y, kept, removal_fraction):
    """Raise a ValueError if a class would lose all of its rows."""
    lost = np.setdiff1d(y, y[kept])
    if len(lost):
        raise ValueError(
            f"removal_fraction={removal_fraction} would drop every row of class {_named(lost)}. "
            "Lower it, or look at the scores of that class."
        )


def _warn_of_losses(y, kept, removal_fraction):
    losses = most_lost(y, ~kept)
    if losses:
        warn(
            f"removal_fraction={removal_fraction} drops {losses}. Rare classes are hard to "
            "judge: look at the scores of that class before you trust it."
        )


def _named(classes):
    return ", ".join(map(repr, classes.tolist()))
