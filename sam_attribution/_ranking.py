"""The rows with the lowest scores."""

import numpy as np


def lowest(scores, share):
    """Mask of the rows with the lowest scores.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        NaN for a row that was not judged.
    share : float
        ``round(share * n_judged)`` rows are marked: a share of the judged rows, which are those
        with a score. Equal scores are marked in the order of the rows, so a larger share marks
        the same rows and more.

    Returns
    -------
    ndarray of shape (n_samples,), dtype bool
        False for every row without a score.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution._ranking import lowest
    >>> lowest(np.array([0.3, -1.0, np.nan, 0.1]), 0.34)
    array([False,  True, False, False])
    """
    n_judged = np.sum(~np.isnan(scores))
    mask = np.zeros(len(scores), dtype=bool)
    mask[np.argsort(scores, kind="stable")[: round(share * n_judged)]] = True  # NaN sorts last
    return mask
