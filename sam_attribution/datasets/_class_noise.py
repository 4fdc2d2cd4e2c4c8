"""Label noise that looks at the class of a row only."""

from sklearn.utils import check_random_state

from sam_attribution.datasets._labels import count_of, encoded, relabelled


def symmetric_noise(y, fraction, *, random_state=None):
    """Give rows drawn at random another class, each of the others equally likely.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any type that sorts. Not changed.
    fraction : float
        Share of the rows to change, from 0 to 1: exactly ``round(fraction * n_samples)`` rows.
    random_state : int, RandomState instance or None, default=None
        Draws the rows and their new labels.

    Returns
    -------
    y_noisy : ndarray of shape (n_samples,)
        Labels with the changed ones in place.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `fraction` lies outside [0, 1] or `y` holds fewer than two classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sam_attribution.datasets import symmetric_noise
    >>> y = np.array(["cat", "dog", "owl", "cat", "dog", "owl"])
    >>> y_noisy, changed = symmetric_noise(y, 0.5, random_state=0)
    >>> int(changed.sum()), bool((y_noisy[changed] != y[changed]).all())
    (3, True)
    """
    y, classes, codes = encoded(y)
    rng = check_random_state(random_state)
    rows = rng.permutation(len(y))[: count_of(fraction, len(y))]
    steps = rng.randint(1, len(classes), size=len(rows))
    return relabelled(y, rows, classes[(codes[rows] + steps) % len(classes)])


def pair_noise(y, fraction, *, random_state=None):
    """Give rows drawn at random the class that follows theirs, the first after the last.

    Harder to find than symmetric noise: the wrong labels of a class all agree.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any type that sorts; the order is the sorted one. Not changed.
    fraction : float
        Share of the rows to change, from 0 to 1: exactly ``round(fraction * n_samples)`` rows.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.

    Returns
    -------
    y_noisy : ndarray of shape (n_samples,)
        Labels with the changed ones in place.
    changed : ndarray of shape (n_samples,), dtype bool
        True where ``y_noisy`` differs from `y`.

    Raises
    ------
    ValueError
        If `fraction` lies outside [0, 1] or `y` holds fewer than two classes.

    Examples
    --------
    >>> from sam_attribution.datasets import pair_noise
    >>> y_noisy, changed = pair_noise([0, 1, 2], 1.0)
    >>> y_noisy
    array([1, 2, 0])
    """
    y, classes, codes = encoded(y)
    rng = check_random_state(random_state)
    rows = rng.permutation(len(y))[: count_of(fraction, len(y))]
    return relabelled(y, rows, classes[(codes[rows] + 1) % len(classes)])
