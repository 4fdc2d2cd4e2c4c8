"""Warnings where scores are weak evidence, or the share of wrong labels cannot be known."""

import numpy as np

from sam_attribution._class_losses import most_lost
from sam_attribution._warnings import warn
from sam_attribution.detection._probability_wrong import expected_auc

_FEW_PAIRS = 2 / 3
_FAR_ABOVE, _TIMES_ABOVE = 0.1, 2
_WIDE = 0.25
_NOT_FEW = 0.05


def warn_of_weak_evidence(skill, probability, scores, what_helps):
    """Warn if the rows tell little of their labels.

    Parameters
    ----------
    skill : LabelSkill
    probability, scores : ndarray of shape (n_samples,)
        Probability of each label to be wrong; low scores are suspicious.
    what_helps : callable
        Returns a sentence.
    """
    doubt = _weakness(skill, expected_auc(probability, scores))
    if doubt:
        warn(f"{doubt}. The scores are weak evidence. {what_helps()}")


def _weakness(skill, auc):
    n_splits = len(skill.of_splits)
    if skill.is_chance:
        where = "held-out labels" if n_splits == 1 else f"held-out labels of all {n_splits} splits"
        return (
            f"The network and its features predict the {where} hardly better than the class "
            "frequencies do, so no label is called suspicious"
        )
    if skill.by_chance:
        splits = ", ".join(map(str, skill.by_chance))
        return (
            f"In split {splits} of diagnostics_ the network predicts the held-out labels hardly "
            "better than the class frequencies do, unlike in the other splits"
        )
    if auc < _FEW_PAIRS:
        return (
            f"A wrong label is expected to score below a right one in only {auc:.0%} of the pairs "
            "(50% by chance)"
        )
    return ""


def warn_of_distrust(agreement):
    """Warn that the labels of a ``ValidationData`` are not taken as right.

    Parameters
    ----------
    agreement : float
        How much better they fit than the labels trained on, in standard errors; NaN if unknown.
    """
    reason = (
        "no weights from before training are known"
        if np.isnan(agreement)
        else f"they do not fit the classes better (agreement={agreement:.2g}, see diagnostics_)"
    )
    warn(
        "trusted='auto' takes the labels of validation to be as noisy as those of fit, because "
        f"{reason}. If somebody has checked them, pass trusted=True. If nobody has, trusted=False "
        "says so."
    )


def warn_of_unknown_share(share, noise, *, trust, is_one_split):
    """Warn if the data do not tell how many labels are wrong.

    Parameters
    ----------
    share : float
        Estimated share of wrong labels.
    noise : NoiseShare
    trust : bool
        Checked rows have told ambiguous rows from wrong labels.
    is_one_split : bool
        A fraction of the rows is held out, so that folds would tell more.
    """
    low, high = noise.interval
    others = noise.disagreement()
    is_overlap = not trust and others > max(high + _FAR_ABOVE, _TIMES_ABOVE * high)
    why = _doubt_of_share(noise, is_overlap=is_overlap)
    if not why:
        return
    said = [
        f"contamination_={round(share, 3):.2g} (90% interval {low:.2g} to {high:.2g}) is uncertain."
    ]
    if not np.isnan(others):
        said.append(f"{others:.0%} of the held-out labels are not the most probable ones.")
    warn(" ".join([*said, why, *_remedies(trust, is_one_split and not is_overlap)]))


def _doubt_of_share(noise, *, is_overlap):
    low, high = noise.interval
    if high == noise.rates[-1]:
        return f"The largest noise rate that is tried is {high:.0%}, and more labels may be wrong."
    if is_overlap:
        return "They may be wrong, or the classes overlap there."
    if high - low > _WIDE:
        return "Many noise rates fit the labels about equally well."
    return "All labels may be right." if low == 0 and high >= _NOT_FEW else ""


def warn_of_lost_classes(y, suspicious, table):
    """Warn if most labels of a class are suspicious.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Given labels.
    suspicious : ndarray of bool, shape (n_samples,)
    table : str
        Name of the table in which the user finds them.
    """
    losses = most_lost(y, suspicious)
    if losses:
        warn(
            f"{losses} are suspicious. Rare classes are hard to judge: review these rows in "
            f"{table} before you drop or relabel them."
        )


def _remedies(trust, folds_help):
    """Sentences on what makes the share certain."""
    if not trust:
        rows = "validation=ValidationData(X_checked, y_checked), trusted=True"
        yield f"To find out, pass a few hundred checked rows to MislabelDetector ({rows})."
    if folds_help:
        yield "Folds (validation=5) make the interval narrower."
