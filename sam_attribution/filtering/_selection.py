"""Checks of scores and classes before rows are removed."""

import numpy as np

from sam_attribution._warnings import warn


def check_scores(scores, n_samples):
    """Raise a ValueError for scores of a wrong shape; warn of rows without one."""
    if scores.shape != (n_samples,):
        raise ValueError(
            f"scorer must leave scores_ of shape ({n_samples},), one for each row, got shape "
            f"{scores.shape}."
        )
    unjudged = np.isnan(scores).mean()
    if unjudged:
        warn(
            f"{unjudged:.1%} of the rows have no score and stay, right or wrong: the scorer held "
            f"them out. A cross-validation splitter as its validation judges every row."
        )


def check_classes_stay(y, kept, removal_fraction):
    """Raise a ValueError if a class would lose all of its rows; warn if it loses most."""
    lost = np.setdiff1d(y, y[kept])
    if len(lost):
        raise ValueError(
            f"removal_fraction={removal_fraction} would drop every row of class "
            f"{', '.join(map(repr, lost.tolist()))}. Lower it, or look at the scores of that class."
        )
    classes, counts = np.unique(y, return_counts=True)
    left = np.array([np.sum(kept[y == label]) for label in classes])
    for label, count, rest in zip(classes.tolist(), counts, left, strict=True):
        if rest < count / 2:
            warn(
                f"removal_fraction={removal_fraction} drops {count - rest} of the {count} rows of "
                f"class {label!r}. Rare classes are hard to judge: look at the scores of that "
                "class before you trust it."
            )
