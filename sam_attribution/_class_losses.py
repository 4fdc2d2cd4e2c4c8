"""The classes that would lose most of their rows."""

import numpy as np

_HALF = 0.5


def most_lost(y, dropped):
    """Return text such as "5 of the 8 rows of class 'rare'" for classes that lose most rows.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    dropped : ndarray of bool, shape (n_samples,)

    Returns
    -------
    str
        Names the class that loses the largest share, and the number of others that lose more than
        half of their rows. Empty if there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution._class_losses import most_lost
    >>> most_lost(
    ...     np.array(["a", "a", "b", "b", "b"]), np.array([0, 0, 1, 1, 0], dtype=bool)
    ... )
    "2 of the 3 rows of class 'b'"
    """
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    lost = np.bincount(codes, dropped, len(classes))
    shares = lost / counts
    worst, n_others = shares.argmax(), int((shares > _HALF).sum()) - 1
    if n_others < 0:
        return ""
    label = classes[worst : worst + 1].tolist()[0]
    classes_ = "class" if n_others == 1 else "classes"
    others = f", and most rows of {n_others} other {classes_}" if n_others else ""
    return f"{int(lost[worst])} of the {counts[worst]} rows of class {label!r}{others}"
