"""From scores to the rows that stay."""

import warnings

import numpy as np


def rows_to_keep(scores, removal_fraction):
    """Mask of the rows that stay when the lowest scores go.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        NaN for a row that was not judged: it stays.
    removal_fraction : float
        ``round(removal_fraction * n_samples)`` rows go, as far as that many were judged. Equal
        scores go in the order of the rows, so a larger fraction removes the same rows and more.

    Returns
    -------
    kept : ndarray of shape (n_samples,), dtype bool

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.filtering import rows_to_keep
    >>> rows_to_keep(np.array([0.3, -1.0, np.nan, 0.1]), 0.5)
    array([ True, False,  True, False])
    """
    n_judged = int(np.sum(~np.isnan(scores)))
    n_removed = min(round(removal_fraction * len(scores)), n_judged)
    kept = np.ones(len(scores), dtype=bool)
    kept[np.argsort(scores, kind="stable")[:n_removed]] = False  # NaN sorts last
    return kept


def check_scores(scores, n_samples):
    """Raise a ValueError for scores of a wrong shape; warn of rows without one."""
    if scores.shape != (n_samples,):
        raise ValueError(
            f"scorer must leave scores_ of shape ({n_samples},), one for each row, got shape "
            f"{scores.shape}."
        )
    unjudged = np.isnan(scores).mean()
    if unjudged:
        warnings.warn(
            f"{unjudged:.1%} of the rows have no score and stay, right or wrong: the scorer held "
            f"them out. A cross-validation splitter as its validation judges every row.",
            stacklevel=4,
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
            warnings.warn(
                f"removal_fraction={removal_fraction} drops {count - rest} of the {count} rows of "
                f"class {label!r}. Rare classes are hard to judge: look at the scores of that "
                "class before you trust it.",
                stacklevel=4,
            )
