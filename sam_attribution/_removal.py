"""Which rows go when the lowest scores go."""

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
