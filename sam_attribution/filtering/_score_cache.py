"""Scores of a scorer, computed once for the same rows."""

from dataclasses import dataclass

import numpy as np

from sam_attribution._warnings import recorded_warnings
from sam_attribution.filtering._cache import Cache, Store


@dataclass(frozen=True)
class Scored:
    """What a scorer found, and the warnings (message, category) that this package issued with it.

    Attributes
    ----------
    scores : ndarray of shape (n_samples,)
    suspicious : ndarray of bool, shape (n_samples,), or None
        None if the scorer does not say which rows are suspicious.
    said : tuple
    """

    scores: np.ndarray
    suspicious: np.ndarray | None = None
    said: tuple = ()

    @property
    def nbytes(self):
        """Bytes of the arrays."""
        return self.scores.nbytes + (0 if self.suspicious is None else self.suspicious.nbytes)


_STORE = Store()
_CACHE = Cache("Scores", _STORE)


def fitted_scores(scorer, X, y, fit_params, *, memory, random_state):
    """What `scorer` finds if it is fitted on the rows, computed unless the cache holds it.

    Parameters
    ----------
    scorer : estimator
        Its ``fit(X, y, **fit_params)`` leaves ``scores_``, and may leave ``suspicious_``.
    X, y : array-like of shape (n_samples, ...), (n_samples,)
        Training rows.
    fit_params : dict
        More arguments of ``fit``.
    memory, random_state
        As for ``Cache.get``.

    Returns
    -------
    scores : ndarray of shape (n_samples,)
    suspicious : ndarray of bool, shape (n_samples,), or None
        Copies the caller owns.
    """

    def compute():
        with recorded_warnings() as said:
            found = _found_by(scorer.fit(X, y, **fit_params))
        return Scored(*found, tuple(said))

    how = {"memory": memory, "random_state": random_state}
    return _copies(_CACHE.get(compute, scorer, X, y, fit_params, **how))


def _copies(scored):
    suspicious = scored.suspicious
    return scored.scores.copy(), None if suspicious is None else suspicious.copy()


def _found_by(scorer):
    if not hasattr(scorer, "scores_"):
        raise TypeError(
            f"scorer must leave scores_ when it is fitted, {type(scorer).__name__} does not. Use "
            "SAMInfluence, for example."
        )
    suspicious = getattr(scorer, "suspicious_", None)
    return np.asarray(scorer.scores_), None if suspicious is None else np.asarray(suspicious)
